"""The shapes of the API: what it takes and what it gives, as pydantic models.

Their requests are strict: no other fields, no number in a string, no object where a text belongs.
Pydantic, because a bulk of 10,000 jobs is checked in some tens of milliseconds, and because
payloads have its errors already.

`requests` and `queries` are what it takes, and `validation` reads them; the other files are what it
gives, by resource.
"""
