"""Figures of the releases, and whether one fails more often than another. Nothing here writes a table.

`verdicts` contains the statistics, in closed form. A verdict is a `verdicts.Verdict`: `name`, `difference`, `interval`,
`flashes_needed` and `is_alarming`; `str(verdict)` gives it in words.
"""
