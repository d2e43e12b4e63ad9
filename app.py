"""Sizewell in the browser: `streamlit run app.py`. Page configuration, navigation, inputs.

The inputs are drawn here and not by the pages, so that they and the link survive a page switch.
"""

from pathlib import Path

import streamlit as st

from ui import inputs, link, phone, style

HERE = Path(__file__).parent

st.set_page_config(
    page_title="Sizewell",
    page_icon=str(HERE / "ui" / "icon.png"),
    layout="wide",
    initial_sidebar_state="auto",
)
pages = [
    st.Page(HERE / "ui" / "pages" / "plan.py", title="Plan", url_path="plan", default=True),
    st.Page(HERE / "ui" / "pages" / "engine.py", title="Engine", url_path="engine"),
    st.Page(HERE / "ui" / "pages" / "compare.py", title="Compare", url_path="compare"),
    st.Page(HERE / "ui" / "pages" / "search.py", title="Find hardware", url_path="search"),
    st.Page(HERE / "ui" / "pages" / "traffic.py", title="Traffic", url_path="traffic"),
    st.Page(HERE / "ui" / "pages" / "train.py", title="Train", url_path="train"),
    st.Page(HERE / "ui" / "pages" / "explain.py", title="Explain", url_path="explain"),
    st.Page(HERE / "ui" / "pages" / "validate.py", title="Validate", url_path="validate"),
]
page = st.navigation(pages, position="top")
st.html(f"<style>{style.css()}{style.STREAMLIT_CSS}</style>")
link.read()
inputs.draw()
phone.top(pages)
above = st.empty()
page.run()
with above:
    link.complain()
