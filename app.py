"""Sizewell in the browser: `streamlit run app.py`. Only page configuration and navigation."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent

st.set_page_config(
    page_title="Sizewell",
    page_icon=str(HERE / "ui" / "icon.png"),
    layout="wide",
    initial_sidebar_state="auto",
)
pages = [
    st.Page(HERE / "ui" / "pages" / "plan.py", title="Plan", url_path="plan", default=True),
    st.Page(HERE / "ui" / "pages" / "compare.py", title="Compare", url_path="compare"),
]
st.navigation(pages, position="top").run()
