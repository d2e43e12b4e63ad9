"""What every page has around it: its settings, the navigation, the inputs.

The inputs are drawn here and not by the pages, so that they and the link survive a page switch.
"""

from pathlib import Path

import streamlit as st

from ui import elsewhere, inputs, kept, link, phone, style

HERE = Path(__file__).parent
PAGES = {
    "plan": "Plan",
    "engine": "Engine",
    "compare": "Compare",
    "search": "Find hardware",
    "traffic": "Traffic",
    "train": "Train",
    "explain": "Explain",
    "validate": "Validate",
}
"""The first is where a bare address leads."""


def draw() -> None:
    """The page that the address names, within its frame."""
    st.set_page_config(page_title="Sizewell", layout="wide", initial_sidebar_state="auto")
    pages = [
        st.Page(HERE / "pages" / f"{name}.py", title=title, url_path=name, default=name == "plan")
        for name, title in PAGES.items()
    ]
    elsewhere.keep(dict(zip(PAGES, pages, strict=True)))
    page = st.navigation(pages, position="top")
    st.html(f"<style>{style.css()}{style.STREAMLIT_CSS}</style>")
    link.read()
    kept.follow_link()
    inputs.draw()
    phone.top(pages)
    above = st.empty()
    page.run()
    with above:
        link.complain()
    st.set_page_config(page_icon=str(HERE / "icon.png"))
