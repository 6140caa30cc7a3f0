"""What is personal in a text is masked, and what an issue needs is not."""

import pytest

from events.reports.issue_texts.masking import masked, masked_name

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # addresses
        ("at f (https://ann:pw@tool.example:8080/a/b/index-abc.js?token=1#x:88:13)", "at f (…/index-abc.js:88:13)"),
        ("flash@https://tool.example/assets/index.js:1:2", "flash@…/index.js:1:2"),
        ("GET https://intranet.example failed.", "GET … failed."),
        ("file:///home/alice/tool/index.html", "…/index.html"),
        ("file:///C:/Users/Bob%20Smith/x.hex, again", "…/x.hex, again"),
        ("blob:https://x.example/123e4567-e89b-12d3-a456-426614174000:1:2", "…/[id]:1:2"),
        ("data:text/html;base64,AAAA", "data:…"),
        ("chrome-extension://abcdefgh/content.js:1:2", "…/content.js:1:2"),
        # e-mail addresses
        ("mail ann.smith+x@example.co.uk, please", "mail [e-mail], please"),
        ("mailto:ann@example.org", "mailto:[e-mail]"),
        # home directories
        ("open /home/alice/fw.bin failed", "open /home/[name]/fw.bin failed"),
        ("/Users/ann/a /media/ann/USB/ /run/user/1000/x", "/Users/[name]/a /media/[name]/USB/ /run/user/[name]/x"),
        (r"C:\Users\Bob Smith\a b.bin", r"C:\Users\[name]\a b.bin"),
        (r"C:\\Users\\Bob\\x", r"C:\\Users\\[name]\\x"),
        (r"c:\users\Bob not found", r"c:\users\[name] not found"),
        (r"C:\Documents and Settings\Bob\x", r"C:\Documents and Settings\[name]\x"),
        (r"\\nas\share\x", r"\\[name]\share\x"),
        ("~alice/x ~/y", "~[name]/x ~/y"),
        # secrets
        ("Authorization: Bearer abcdef", "Authorization: [key]"),
        ("Cookie: a=b; c=d", "Cookie: [key]"),
        ("sent bearer abcdef123456", "sent bearer [key]"),
        ("password=hunter2&x=1", "password=[key]&x=1"),
        ('{"api_key": "abc def"}', '{"api_key": [key]}'),
        ("ACCESS-TOKEN : x", "ACCESS-TOKEN : [key]"),
        ("session_id=abc", "session_id=[key]"),
        ("ghp_abcdefghijklmnop1234", "[key]"),
        (JWT, "[key]"),
        ("eXamPl3K3yT0k3nW1thR4nd0mCh4rs", "[key]"),
        ("d41d8cd98f00b204e9800998ecf8427e", "[key]"),
        ("front-end:Zx8kQ2mN4pL6vB1cR9tY3wE5uI7oA0sD_fGhJ-kLmQ0", "front-end:[key]"),
        ("-----BEGIN PRIVATE KEY-----\nabc", "[key]"),
        # ids and addresses of machines
        ("id 123e4567-e89b-12d3-a456-426614174000", "id [id]"),
        ("the-session failed", "[id] failed"),
        ("10.1.2.3:80 and 127.0.0.1", "[IP address]:80 and 127.0.0.1"),
        ("fe80::1%eth0 2001:db8::1 ::1", "[IP address] [IP address] ::1"),
        ("aa:bb:cc:dd:ee:ff", "[address]"),
        # What an issue needs stays.
        ("No ACK for block 0x001f (got 0x15)", "No ACK for block 0x001f (got 0x15)"),
        ("writeBlock@protocol.ts:88:13", "writeBlock@protocol.ts:88:13"),
        ("at writeBlock (src/protocol.ts:88:13)", "at writeBlock (src/protocol.ts:88:13)"),
        ("v1.2.3.4 and 10.8.0.300 at 12:30:45.123", "v1.2.3.4 and 10.8.0.300 at 12:30:45.123"),
        ("06 0a:0b ff:00", "06 0a:0b ff:00"),
        ("onUnhandledRejectionInWorkerThread", "onUnhandledRejectionInWorkerThread"),
        ("handleFlashDialog2UploadCompleted", "handleFlashDialog2UploadCompleted"),
        ("SERIAL_TIMEOUT_WHILE_WRITING_BLOCK_12", "SERIAL_TIMEOUT_WHILE_WRITING_BLOCK_12"),
        ("vid 0x1a86 pid 0x7523 /dev/ttyUSB0 COM3", "vid 0x1a86 pid 0x7523 /dev/ttyUSB0 COM3"),
        ("token expired; session lost", "token expired; session lost"),
    ],
)
def test_a_text_is_masked(text: str, shown: str) -> None:
    assert masked(text, ["the-session", None, "a"]) == shown
    assert masked(shown) == shown, "masking twice changes nothing"


def test_the_name_of_a_version_can_be_a_hash() -> None:
    version = "0123456789abcdef0123456789abcdef01234567"
    assert masked_name(version) == version
    assert masked_name("ann@example.org /home/ann/x 1.2.3.4") == "[e-mail] /home/[name]/x 1.2.3.4"
