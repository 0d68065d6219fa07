"""Taking over a bank's books: history from a CSV file is posted to the ledger with its own dates and compared step by step.

A client's room: it reads files and calls the ledger through its client, and owns no tables, routes or events.
`run.take_over` is the use case. A mapping (`mapping`) says how to read the file; `reading` turns it into rows, `history`
puts them in order and walks through them, `opening` and `posting` call the ledger, `report` says what came of it.
"""
