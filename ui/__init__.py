"""The terminal UI: an HTTP client of the appliance that happens to draw on a terminal.

It speaks the public HTTP contract and nothing else, so it serves a local and a remote
appliance alike. The layers inside: `client` is the only module that knows HTTP;
`turns`, `entries`, `wording` and `safe_text` are pure; `conversations` and `link` own state
and know no widget; widgets show state and post messages; screens turn messages into calls;
`app` owns navigation.
"""
