"""Sizewell in the browser: `streamlit run app.py`.

The server imports this file once, for `app`, and then runs it for every visitor and every edit.
"""

import os

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ui import readiness

# NumPy's products here are small, and threads that share one wait for the busiest core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if get_script_run_ctx(suppress_warning=True) is None:
    app = st.App(__file__, lifespan=readiness.while_serving)
    if __name__ == "__main__":
        app.run()
else:
    readiness.wait()
    from ui import frame

    frame.draw()
