"""The top of a narrow screen: the name, and the pages, which Streamlit keeps in the drawer there.

Hidden by the style sheet on wide screens, where the pages are at the top anyway.
"""

from collections.abc import Sequence

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from ui.inputs import NAME


def top(pages: Sequence[StreamlitPage]) -> None:
    """Name and links; the inputs stay in the link, as with the pages at the top."""
    with st.container(key="phone_top"):
        st.html(NAME)
        with st.container(horizontal=True, key="phone_pages"):
            for page in pages:
                st.page_link(page)
