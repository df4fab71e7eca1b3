"""Which addresses are valid, which are equal, and how they are written for a provider."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from alertctl.addresses import (
    address_key,
    ascii_domain,
    channel_of,
    check_address,
    email_of_person,
    encode_email,
    encode_slack_channel,
    glob_key,
    identity,
    is_email,
    is_slack_channel,
    masked,
    matches_glob,
    search_key,
)
from alertctl.errors import InvalidEvent
from tests.support.cases import each

KELVIN = "\u212a"
CHANNELS = st.sampled_from(["slack", "email"])
LETTERS = st.sampled_from("aKk.-_#@ßẞäÄé\u0301\u0331\u0308\u212a\u212b\u037e\u200d\u00ad。ａＡσςΣıİ１क्ष☃H")
TEXTS = st.text(LETTERS, max_size=12) | st.text(max_size=40)
EMAILS = st.builds("{}@{}".format, TEXTS, st.sampled_from(["x", "faß.example", "Bücher.example"]) | TEXTS)

NAMES = st.text(st.sampled_from("aKkHhßẞäÄéÉ\u0301\u0331\u0308\u212a\u212bσςΣ"), min_size=1, max_size=6)
DOMAINS = ["x", "X", "xn--fa-hia.example", "faß.example", "FAẞ.example", "fass.example", "bu\u0308cher.x", "Bücher.x"]
VALID_EMAILS = st.builds("{}@{}".format, NAMES, st.sampled_from(DOMAINS))


@each(
    "text",
    [
        *("a@b", "a@localhost", "a@mail.local", "a.b@corp.example", "o'hara+x@b.example", "root@my_host.corp_x"),
        *("jörg@bücher.example", "ü@x.example", "x@faß.example", "x@उदाहरण.example", "x@bu\u0308cher.example"),
        *("x@xn--fa-hia.example", "x@نامه\u200cای.example", f"{'a' * 64}@b", f"a@{'x' * 63}.example"),
    ],
)
def test_exactly_one_address_is_an_email_address(text):
    assert is_email(text)
    assert check_address("email", text, "to") == text


INVISIBLE = ["\u00ad", "\u034f", "\u200b", "\u202e", "\u2066", "\u2800", "\u3164", "\ufe0f", "\ufeff", "\U000e0041"]


@each("character", INVISIBLE)
@each(
    ("channel", "address"),
    [("email", "dev{}@corp.example"), ("email", "dev@co{}rp.example"), ("slack", "#platform{}-alerts")],
)
def test_an_address_with_an_invisible_character_is_refused_with_its_number(channel, address, character):
    with pytest.raises(
        InvalidEvent, match=rf"contains the invisible character U\+{ord(character):04X}: type"
    ) as caught:
        check_address(channel, address.format(character), "to")
    assert len(str(caught.value).splitlines()) == 1


def test_a_joiner_is_for_domains_only():
    with pytest.raises(InvalidEvent, match=r"invisible character U\+200D"):
        check_address("email", "a\u200db@corp.example", "to")


@each(
    "text",
    [
        *("", "a", "@b", "a@", "a@b, c@d", "a@b;c@d", "a b@c", "a@b c", "a@-b", "a@b-", "a@b..c", "a@b.", "a@.b"),
        *(".a@b", "a.@b", "a..b@c", "<a@b>", "Dev <a@b>", '"a b"@c', '"a@x, b"@c', "a@b@c", "(c)a@b", "a@[127.0.0.1]"),
        *("a@b\r\n", "a@b\r\nBcc: c@d", "a\0@b", "a\ud800@b", "a@\ud83d.b", "a@b\u2028", "a\u200b@b", "a\u202e@b"),
        *("a\u037eb@c", "a@☃.example", "a@ä_b.example", "a@ä..example", "a@ä.", "a@\u200dä", "a@ä b.example"),
        *(f"{'a' * 65}@b", f"a@{'b' * 64}", f"a@{'b' * 253}", "a@" + "x.example" * 40, f"a@{'ä' * 60}.example"),
        "a@" + ".".join(["b" * 62] * 4) + ".b",
    ],
)
def test_anything_else_is_no_email_address(text):
    assert not is_email(text)
    problems = "is not a single email address|has a domain that is not a valid|contains the invisible character"
    with pytest.raises(InvalidEvent, match=rf"^to: .* ({problems})"):
        check_address("email", text, "to")


def test_an_email_address_is_measured_as_the_mail_server_gets_it():
    long_ones = [f"{'a' * 60}@{'.'.join(['ß' * size] * 4)}" for size in range(20, 60)]
    accepted = [text for text in long_ones if is_email(text)]
    assert accepted
    assert max(len(encode_email(text)) for text in accepted) <= 254 < max(len(encode_email(text)) for text in long_ones)


@pytest.mark.parametrize("text", ["#x", "general", "C0123456789", "#maße", "#cafe\u0301", "#ไทยแลนด์", "x" * 80])
def test_a_name_with_or_without_hash_or_an_id_is_a_slack_channel(text):
    assert is_slack_channel(text)
    assert check_address("slack", text, "to") == text


@pytest.mark.parametrize("text", ["", "#", "##x", "a b", "x\n", "a@b", "#a,b", "#\ud800", "x" * 81, "#" + "x" * 80])
def test_anything_else_is_no_slack_channel(text):
    with pytest.raises(InvalidEvent, match=r"^to: .* is not a Slack channel"):
        check_address("slack", text, "to")


@pytest.mark.parametrize("text", ["@ana@corp.example", "@jörg@bücher.example", f"@a@{'x' * 60}.example", "U0123456789"])
def test_a_person_is_a_slack_address_by_email_or_id(text):
    assert check_address("slack", text, "to") == text


@pytest.mark.parametrize("text", ["@", "@ana", "@me", "@ana@", "@@corp.example", "@a b@corp.example", "@#x", "#@a@b"])
def test_a_person_without_a_valid_email_is_no_slack_address(text):
    with pytest.raises(
        InvalidEvent, match=r"^to: .* (is not a single email address|is not a Slack channel .* or a person)"
    ):
        check_address("slack", text, "to")


def test_a_person_has_the_longest_email_that_fits_the_log():
    longest = f"{'a' * 60}@{'.'.join(['x' * 47] * 4)}"
    assert len(longest) == 252
    check_address("slack", f"@{longest}x", "to")
    with pytest.raises(InvalidEvent, match="is too long"):
        check_address("slack", f"@{longest}xx", "to")


def test_a_person_is_recognised_searched_and_masked():
    assert (channel_of("@ana@corp.example"), channel_of("ana@corp.example"), channel_of("#ana")) == (
        "slack",
        "email",
        "slack",
    )
    assert email_of_person("@ana@corp.example") == "ana@corp.example"
    assert email_of_person("#ana") == email_of_person("ana@corp.example") == ""
    assert search_key("@Ana@Faß.example") == address_key("slack", "@ana@xn--fa-hia.example")
    assert (masked("@ana@corp.example"), masked("U0123456789")) == ("@a***@corp.example", "U***")


@pytest.mark.parametrize(
    ("address", "pattern", "matches"),
    [
        ("@Ana@corp.example", "@*@Corp.Example", True),
        ("@ana@faß.example", "@*@xn--fa-hia.example", True),
        ("@ana@other.example", "@*@corp.example", False),
        ("@ana@corp.example", "@*", True),
        ("@ana@corp.example", "*", True),
        ("@ana@corp.example", "team-*", False),
        ("#ana", "@*", False),
    ],
)
def test_a_glob_matches_people_only_if_it_names_them(address, pattern, matches):
    assert matches_glob("slack", address, glob_key("slack", pattern)) is matches


@pytest.mark.parametrize(
    ("channel", "first", "other"),
    [
        ("slack", "@Ana@Corp.Example", "@ana@corp.example"),
        ("slack", "@ana@faß.example", "@ANA@xn--fa-hia.example"),
        ("email", "Ops@Corp.Example", "ops@corp.example"),
        ("email", "ops@faß.example", "OPS@xn--fa-hia.example"),
        ("email", "ops@BÜCHER.example", "ops@bu\u0308cher.example"),
        ("email", "ops@ｃｏｒｐ.example", "ops@corp.example"),
        ("email", "ops@corp。example", "ops@corp.example"),
        ("email", "jo\u0308rg@x.example", "J\u00f6rg@x.example"),
        ("slack", "#Platform-Alerts", "#platform-alerts"),
        ("slack", "platform-alerts", "#platform-alerts"),
        ("slack", "C0123456789", "c0123456789"),
        ("slack", "#Cafe\u0301", "caf\u00e9"),
    ],
)
def test_these_two_are_equal(channel, first, other):
    assert identity(channel, first) == identity(channel, other)


@pytest.mark.parametrize(
    ("channel", "first", "other"),
    [
        ("email", "ops@faß.example", "ops@fass.example"),
        ("email", "weiß@corp.example", "weiss@corp.example"),
        ("email", "WEIẞ@corp.example", "weiß@corp.example"),
        ("email", f"{KELVIN}ai@corp.example", "kai@corp.example"),
        ("email", "Ärger@corp.example", "ärger@corp.example"),
        ("slack", "#maße", "#masse"),
        ("slack", f"#{KELVIN}ern", "#kern"),
        ("slack", "#ﬁx", "#fix"),
        ("slack", "#ｆix", "#fix"),
        ("slack", "#x", "##x"),
        ("slack", "@ana@faß.example", "@ana@fass.example"),
    ],
)
def test_these_two_are_not_equal(channel, first, other):
    assert identity(channel, first) != identity(channel, other)


def test_an_email_domain_is_written_as_dns_knows_it():
    assert encode_email("Ops@Faß.Example") == "Ops@xn--fa-hia.example"
    assert encode_email("Ops@Corp.Example") == "Ops@Corp.Example"
    assert encode_email("jo\u0308rg@corp.example") == "j\u00f6rg@corp.example"
    assert encode_email("ops@☃.example") == "ops@☃.example"


def test_a_domain_without_an_a_label_is_refused_and_not_repeated():
    with pytest.raises(
        ValueError, match=r"^has a domain that is not a valid international name \(IDNA 2008\)"
    ) as caught:
        ascii_domain("☃.example")
    assert "☃" not in str(caught.value)


def test_an_ascii_address_costs_no_import_of_idna():
    code = (
        "import sys; from alertctl.addresses import check_address, identity\n"
        "check_address('email', 'Ops@Corp.example', 'to'); identity('email', 'Ops@Corp.example'); "
        "print('idna' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "False"


def test_a_slack_channel_is_written_in_nfc():
    assert encode_slack_channel("#Cafe\u0301") == "#Caf\u00e9"


def test_an_address_without_its_channel_is_searched_by_the_same_key():
    for channel, address in (("email", "Ops@Faß.example"), ("slack", "#Maße"), ("slack", "#Cafe\u0301")):
        assert search_key(address) == address_key(channel, address)


def test_the_key_of_every_address_fits_its_column():
    assert len(address_key("email", f"a@{'ä' * 250}.example")) <= 254
    assert len(address_key("slack", "\U0001d160" * 254)) <= 254


@given(CHANNELS, EMAILS | TEXTS)
@example("email", "H\u0331@x")
@example("email", "\u212b@x")
def test_a_key_is_its_own_key(channel, text):
    key = address_key(channel, text)
    assert address_key(channel, key) == key
    assert identity(channel, key) == identity(channel, text)


@given(CHANNELS, EMAILS | TEXTS)
def test_an_address_is_accepted_or_refused_with_its_field(channel, text):
    if not is_valid(channel, text):
        with pytest.raises(InvalidEvent, match=r"^to: "):
            check_address(channel, text, "to")
        return
    assert check_address(channel, text, "to") == text
    encoded = encode_email(text) if channel == "email" else encode_slack_channel(text)
    assert check_address(channel, encoded, "to") == encoded
    assert address_key(channel, encoded) == address_key(channel, text)


@given(CHANNELS, st.data())
def test_equal_keys_reach_the_same(channel, data):
    """As providers compare: without ASCII case and by canonical equivalence, never by look-alikes."""
    texts = VALID_EMAILS if channel == "email" else NAMES
    first = data.draw(texts)
    variants = st.sampled_from([first.lower(), first.upper(), first.casefold(), unicodedata.normalize("NFKC", first)])
    other = data.draw(variants | texts)
    assume(is_valid(channel, first) and is_valid(channel, other))
    encode = encode_email if channel == "email" else encode_slack_channel
    same_reach = without_ascii_case(encode(first)) == without_ascii_case(encode(other))
    assert (address_key(channel, first) == address_key(channel, other)) == same_reach


def is_valid(channel: str, text: str) -> bool:
    if channel == "slack" and text.startswith("@"):
        return is_email(email_of_person(text)) and len(encode_email(text).encode()) <= 254
    return is_email(text) if channel == "email" else is_slack_channel(text)


def without_ascii_case(text: str) -> str:
    """NFC once more: with a small letter some combining marks have a character of their own, with a capital none."""
    lowered = "".join(c.lower() if c.isascii() else c for c in text)
    return lowered if KELVIN in lowered else unicodedata.normalize("NFC", lowered)
