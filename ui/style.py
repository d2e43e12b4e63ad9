"""One style sheet for the page and the report: bars, tables, figures in words, print."""

from ui.components import COMPONENTS, DRAFT, TRAINING


def component_css() -> str:
    """A class per memory component: fill of its bar segment and of its swatch."""
    rules = []
    for component in (*COMPONENTS, DRAFT, *TRAINING):
        colour = f"light-dark({component.light}, {component.dark})"
        rules.append(
            f".sz-{component.key}{{fill:{component.light};fill:{colour};"
            f"background:{component.light};background:{colour}}}"
        )
    return "".join(rules)


BASE_CSS = """
.sz-bar{display:block;overflow:visible;font-variant-numeric:tabular-nums}
.sz-bar text{fill:currentColor;font-size:14px}
.sz-bar .sz-in{fill:#fff;fill:light-dark(#fff,#10151c);font-size:13px;font-weight:600}
.sz-bar .sz-track{fill:none;stroke:currentColor;stroke-opacity:.55}
.sz-bar .sz-limit{stroke:currentColor;stroke-width:3}
.sz-bar .sz-range{stroke:currentColor;stroke-width:1.5}
.sz-swatch{display:inline-block;width:.85em;height:.85em;margin-right:.45em;border-radius:2px;
vertical-align:-.05em;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.sz-table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
.sz-table caption{text-align:left;padding:.2rem 0 .4rem;font-weight:600}
.sz-table th{text-align:left;font-weight:400}
.sz-table thead th{font-weight:600}
.sz-table th,.sz-table td{padding:.3rem .6rem .3rem 0;vertical-align:top;border:0;
border-bottom:1px solid rgba(128,140,160,.35)}
.sz-table .num{text-align:right;white-space:nowrap}
.sz-table th.num{white-space:normal}
.sz-table .num+td:not(.num){padding-left:.5rem}
.sz-table tr.sz-strong .num,.sz-table tr.sz-strong th{font-weight:600}
.sz-table tbody th{min-width:7rem}
.sz-scroll{overflow-x:auto}
.sz-kpis{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:0;padding:0!important}
.sz-kpis div{border:1px solid rgba(128,140,160,.45);border-radius:6px;padding:.55rem .75rem}
.sz-kpis dt{font-size:.8125rem;font-weight:400}
.sz-kpis dd{margin:0;font-size:1.35rem;line-height:1.4;font-weight:600;
font-variant-numeric:tabular-nums}
.sz-kpis dd small{display:block;font-size:.8125rem;font-weight:400;line-height:1.35}
.sz-findings{list-style:none;margin:0;padding:0!important;font-size:.9375rem}
.sz-findings li{margin:0;padding:.3rem 0 .3rem 5.6rem;position:relative;
border-bottom:1px solid rgba(128,140,160,.25)}
.sz-findings b{position:absolute;left:0}
.sz-legend{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.875rem}
.sz-table small{display:block;font-size:.8125rem;font-weight:400}
.sz-note{font-size:.875rem;margin:.25rem 0}
.sz-idea{margin:0 0 .2rem;max-width:46rem}
.sz-formula{font-family:"Source Code Pro",ui-monospace,monospace;font-size:.8125rem;margin:.1rem 0;
padding:.1rem 0 .1rem .6rem;border-left:3px solid rgba(128,140,160,.6);overflow-wrap:anywhere}
.sz-table .sz-hint{display:none}
@media screen and (max-width:640px){.sz-wide{display:none}.sz-table tbody th{min-width:5rem}
.sz-stack thead{display:none}.sz-stack,.sz-stack caption,.sz-stack tbody,.sz-stack tr,
.sz-stack th,.sz-stack td{display:block;width:100%}
.sz-stack th,.sz-stack td{border:0;padding:.1rem 0}
.sz-stack tr{border-bottom:1px solid rgba(128,140,160,.35);padding:.35rem 0}
.sz-stack td.num{text-align:left}.sz-stack .sz-hint{display:inline;opacity:.85}
.sz-stack .num+td:not(.num){padding-left:0}
.sz-stack tbody th{font-weight:600}.sz-findings li{padding-left:0}
.sz-findings b{position:static;margin-right:.4rem}}
"""


def css() -> str:
    """The whole style sheet."""
    return BASE_CSS + component_css()


STREAMLIT_CSS = """
.stMainBlockContainer{--sz-top:4.2rem;padding:var(--sz-top) clamp(1rem,3vw,3rem) 3rem}
[data-testid=stCaptionContainer],[data-testid=stCaptionContainer] *{color:#46505f;
color:light-dark(#46505f,#b9c3d1);opacity:1}
.stMain h1{font-size:1.6rem;line-height:1.25;padding:0}
.stMain h2,.stMain h3{font-size:1.15rem;line-height:1.3;padding:.4rem 0 0}
[data-testid=stSidebarUserContent]{padding-top:0}
[data-testid=stSidebarHeader]{height:2.4rem;margin-bottom:0}
.sz-name{margin:0;font-size:.875rem;line-height:1.35}
.sz-name b{display:block;font-size:1.3rem;line-height:1.3}
.st-key-phone_top{display:none}
[data-testid=stSelectbox] input{text-overflow:ellipsis}
[data-testid=stTopNavLink]:focus-visible,[data-testid=stPageLink] a:focus-visible{
outline:2px solid currentColor;outline-offset:1px}
[data-testid=stSidebar][data-collapsed=true],[data-testid=stSidebar][data-collapsed=true] *{
visibility:hidden!important}
@media (max-width:768px){
[data-testid=stHeader] [data-testid=stExpandSidebarButton]{width:auto;gap:.3rem;color:inherit}
[data-testid=stHeader] [data-testid=stExpandSidebarButton]::after{
content:"Sidebar: model, GPU, context, users";font-size:.875rem;font-weight:600;white-space:nowrap}
.stMainBlockContainer{--sz-top:3rem}
[data-testid=stHeader]{height:2.75rem;min-height:0}
.st-key-phone_top{display:flex;gap:.2rem}
.st-key-phone_top .sz-name b{font-size:1.05rem}
.st-key-phone_pages{gap:.1rem}
.st-key-phone_pages [data-testid=stPageLink] a{padding:.3rem .45rem}
[data-testid=stSidebarNav],[data-testid=stSidebarNavSeparator],
[data-testid=stSidebar] .sz-name{display:none}}
.stApp:has([data-testid=stNumberInput] [aria-invalid=true]) .stMainBlockContainer::before{
content:"A number you typed is outside its range, so it is not used: all below is the \\
answer for the last valid number.";display:block;position:sticky;top:var(--sz-top);
z-index:5;padding:.6rem .9rem;
margin-bottom:.6rem;border-radius:4px;font-weight:600;background:#fdf0ef;color:#8c1d18;
background:light-dark(#fdf0ef,#3a201e);color:light-dark(#8c1d18,#ffc9c4)}
.stApp:has([data-testid=stNumberInput] [aria-invalid=true]) .stMainBlockContainer>*{opacity:.55}
"""
"""Tighter than the default, so that the answer is on the first screen."""
