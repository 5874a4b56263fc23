"""The pages. Reads go through `selectors`, changes through `services`; no rule is kept here.

A page is a shell around one live part. The same address answers both: htmx asks for the part alone
every two seconds, with the `rev` of what it has, and gets 204 while nothing has changed.
"""
