"""The search syntax of the field `q`: filters and texts in one line, such as `model:UV-17R "No ACK" -expected`.

    query  = text | { term }          terms are separated by white space
    term   = [ "-" ] name ":" value | "-expected" | phrase | words
    value  = phrase | characters without white space, of which the first is no quote
    phrase = '"' { any character, with \\" for " and \\\\ for \\ } '"'

- A query without a filter that does not begin with a quote is one text, exactly as it was typed. So a pasted message is
  found, whatever it contains. A filter is a known name with a colon, or `-expected`. Names ignore case.
- In every other query, words that stand together are one text, and so is each phrase. An event must contain all texts.
- A known name is a filter only at the start of a term. Any other word with a colon, such as `http://x`, is text.
- A minus sign excludes a value. Each excluded value applies. A filter that is given twice must have the same value.

`grammar` parses and formats queries and knows no names. `operators` knows the names, and returns the form's parameters
that a query stands for. What no parameter can express stays in the query: texts and excluded values. This normal form
has the same meaning as the query. The package reads and writes no table.
"""
