"""How the page is drawn at the moment."""

import streamlit as st


def dark() -> bool:
    return st.context.theme.type == "dark"
