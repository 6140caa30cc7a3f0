"""Work on stored events that no request waits for.

`retention` alone deletes events, and writes the mark up to which it did. `regrouping` gives stored failures new
fingerprints. `disk` reports how much room is left. `demo` invents events for a new site.
"""
