"""Addresses in notes: which of them become links, and that no text becomes HTML."""

import pytest

from events.models import AuditEntry
from events.templatetags.telemetry import linked, linked_entry


def a(url: str, shown: str = "") -> str:
    return f'<a href="{url}" rel="noopener noreferrer">{shown or url}</a>'


URL = "https://example.org/a"
LINK = a(URL)


@pytest.mark.parametrize(
    ("note", "html"),
    [
        ("", ""),
        ("no address", "no address"),
        (URL, LINK),
        (f"see {URL} and {URL}", f"see {LINK} and {LINK}"),
        (f"{URL}\n{URL}", f"{LINK}\n{LINK}"),
        ("https://example.org/?a=1&b=2#c", a("https://example.org/?a=1&amp;b=2#c")),
        ("HTTPS://example.org/", a("HTTPS://example.org/")),
        ("https://xn--bcher-kva.example/", a("https://xn--bcher-kva.example/")),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]/"),
        # Punctuation and brackets around an address are not part of it.
        (f"See {URL}.", f"See {LINK}."),
        (f"{URL}, {URL}; {URL}?!", f"{LINK}, {LINK}; {LINK}?!"),
        (f"({URL})", f"({LINK})"),
        (f"[{URL}].", f"[{LINK}]."),
        (f'"{URL}" and “{URL}”', f"&quot;{LINK}&quot; and “{LINK}”"),
        (f"<{URL}>", f"&lt;{LINK}&gt;"),
        (f"[text]({URL})", f"[text]({LINK})"),
        ("https://example.org/a_(b)", a("https://example.org/a_(b)")),
        ("(https://example.org/a_(b))", f"({a('https://example.org/a_(b)')})"),
        # All of these stay text.
        ("https://example.org/a_(b", "https://example.org/a_(b"),
        ("https://example.org/a)b", "https://example.org/a)b"),
        ("http://example.org/", "http://example.org/"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("javascript:https://example.org/%0aalert(1)", "javascript:https://example.org/%0aalert(1)"),
        ("data:text/html,https://example.org/", "data:text/html,https://example.org/"),
        ("xhttps://example.org/", "xhttps://example.org/"),
        ("ftp://example.org/ //example.org/ www.example.org", "ftp://example.org/ //example.org/ www.example.org"),
        ("https://", "https://"),
        ("https://.", "https://."),
        ("https:///", "https:///"),
        ("https://user:password@example.org/", "https://user:password@example.org/"),
        ("https://github.com@evil.example/", "https://github.com@evil.example/"),
        ("https://github.com\\@evil.example/", "https://github.com\\@evil.example/"),
        ("https://exämple.org/", "https://exämple.org/"),
        ("https://gооgle.com/", "https://gооgle.com/"),  # two letters of another script
        ("https://example.org/\u202egpj.exe", "https://example.org/\u202egpj.exe"),
        ("https://example.org\u2024evil.example/", "https://example.org\u2024evil.example/"),
        ("https://example.org/\u200b", "https://example.org/\u200b"),
        ("https://example.org:99999/", "https://example.org:99999/"),
        (f"https://example.org/{'x' * 2_000}", f"https://example.org/{'x' * 2_000}"),
        # No text becomes HTML.
        ("<b>&</b>", "&lt;b&gt;&amp;&lt;/b&gt;"),
        ('https://example.org/"onmouseover="alert(1)', f"{a('https://example.org/')}&quot;onmouseover=&quot;alert(1)"),
        ("https://example.org/<script>", f"{a('https://example.org/')}&lt;script&gt;"),
    ],
)
def test_an_https_address_becomes_a_link_and_everything_else_stays_text(note: str, html: str) -> None:
    assert linked(note) == html


@pytest.mark.parametrize(
    ("what", "has_link"),
    [
        (f"Noted: {URL}", True),
        (f"Linked the issue {URL}", True),
        (f"Removed the link to the issue {URL}", True),
        (f"Merged “{URL}” (1) into this group.", False),  # the title of a failure, which a stranger can choose
        (f"Exported Events: version={URL}", False),
        (f"Took the note away. Noted: {URL}", False),
    ],
)
def test_the_audit_log_links_what_maintainers_typed(what: str, has_link: bool) -> None:
    assert (LINK in linked_entry(AuditEntry(what=what))) is has_link
