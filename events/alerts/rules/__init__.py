"""The rules: what is an alert without a failure that says so. A job evaluates them every few minutes.

`evaluation` asks each rule for its problems, and writes an alert for each new one. `decisions` finds mutes that ended
while the failure still happens, `releases` worse releases, `rates` a failure rate far above its past, `silences`
missing events, and `summaries` the Mondays of the digest. Other rules are where their subject is: an AppConfig offers
them with `alert_rules()`.
"""
