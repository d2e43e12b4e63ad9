"""A sentence that leads to another page; the inputs go along."""

from collections.abc import Mapping

import streamlit as st
from streamlit.navigation.page import StreamlitPage

PAGES = "pages_by_name"


def keep(pages: Mapping[str, StreamlitPage]) -> None:
    """The pages that there are, by the names of their files."""
    st.session_state[PAGES] = dict(pages)


def lead(name: str, sentence: str) -> None:
    """Draw the sentence and the link, whose label does not wrap; no link where a page is drawn by
    itself."""
    st.caption(sentence)
    page = st.session_state.get(PAGES, {}).get(name)
    if page is not None:
        st.page_link(page, label=f"Open {page.title}", icon=":material/arrow_forward:")
