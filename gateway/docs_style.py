"""How the page at `/docs` looks, light and dark; part of the page, since it fetches nothing."""

from typing import Final

STYLE: Final = """
:root{--ink:#1b1f24;--quiet:#57606a;--paper:#fff;--wash:#f6f8fa;--line:#d8dee4;--link:#0550ae;--get:#0a6640;--post:#8a4600}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--quiet:#9aa4ae;--paper:#0d1117;--wash:#161b22;--line:#30363d;
--link:#79b8ff;--get:#56d364;--post:#e3a35b}}
*{box-sizing:border-box}html{scroll-padding-top:1rem}
body{margin:0;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);display:grid;
grid-template-columns:19rem minmax(0,1fr)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1.2rem 1rem;border-right:1px solid var(--line);
background:var(--wash);font-size:13px}
nav a{display:block;color:inherit;text-decoration:none;padding:.12rem .3rem;border-radius:4px;white-space:nowrap;
overflow:hidden;text-overflow:ellipsis}
nav a:hover{background:var(--line)}nav strong,nav .tag{display:block;margin-top:.9rem;font-weight:600}
nav strong{margin:0 0 .5rem}
main{padding:1.5rem 2.5rem 6rem;max-width:64rem}
h1{font-size:1.6rem;margin:.2rem 0 1rem}h2{font-size:1.25rem;margin:3rem 0 .4rem}
h3{font-size:1rem;margin:0;display:flex;justify-content:space-between;gap:1rem;flex-wrap:wrap}
h3 a{color:inherit;text-decoration:none}h4{font-size:.85rem;margin:1rem 0 .2rem;color:var(--quiet)}
small{font-weight:400;font-size:.85em;color:var(--quiet)}p{margin:.45rem 0}a{color:var(--link)}
article{border-top:1px solid var(--line);padding:1.1rem 0 1.4rem}
code,pre{font:13px/1.45 ui-monospace,monospace}code{overflow-wrap:anywhere}
pre{background:var(--wash);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;
overflow-x:auto;margin:.3rem 0}
b{display:inline-block;min-width:2.6rem;font:600 11px/1.5 ui-monospace,monospace}
.get{color:var(--get)}.post{color:var(--post)}
table{border-collapse:collapse;width:100%;margin:.3rem 0}
th{text-align:left;font-weight:600;color:var(--quiet);font-size:.85rem}
td,th{padding:.3rem .9rem .3rem 0;vertical-align:top;border-bottom:1px solid var(--line)}
td:first-child{white-space:nowrap}td p{margin:.15rem 0}
tr:target,article:target{background:var(--wash);box-shadow:-.5rem 0 0 var(--link)}
details summary{cursor:pointer;color:var(--link);font-size:.9rem}
@media(max-width:52rem){body{display:block}nav{position:static;height:auto;max-height:14rem}main{padding:1rem}}
"""
