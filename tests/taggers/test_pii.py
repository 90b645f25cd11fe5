"""Exact spans, and what must not be found. Run: `pytest tests/taggers/test_pii.py`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError
from dolma.taggers.pii import TYPES, Pii


def spans(*texts: str, **options: Any) -> list[dict[str, list[tuple[int, int, float]]]]:
    tagger = Pii(**options)
    columns = check_columns(tagger(TextBatch.of(texts)), outputs=tagger.outputs, n_docs=len(texts), tagger="pii")
    return [
        {name: [(s["start"], s["end"], s["score"]) for s in column[i].as_py()] for name, column in columns.items()}
        for i in range(len(texts))
    ]


def found(text: str, **options: Any) -> list[tuple[str, str]]:
    return [(name, text[start:end]) for name, some in spans(text, **options)[0].items() for start, end, _ in some]


def score(text: str) -> float:
    ((_, _, only),) = (span for some in spans(text, min_score=0)[0].values() for span in some)
    return only


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("a@b.com", "a@b.com"),
        ("write to a.b+c_d%e@mail.example.co.uk", "a.b+c_d%e@mail.example.co.uk"),
        (": a@b.com ", "a@b.com"),
        ("(a@b.com)", "a@b.com"),
        ("a@b.com.", "a@b.com"),
        ("a@b.com, and", "a@b.com"),
        ("<mailto:a@b.com>", "a@b.com"),
        ("see...a@b.com--thanks", "a@b.com"),
        ("邮箱a@b.com是", "a@b.com"),
        ("🎉🎉 a@b.com", "a@b.com"),
        ("a@" + "b" * 63 + ".com", "a@" + "b" * 63 + ".com"),
        ("x" * 64 + "@b.com", "x" * 64 + "@b.com"),
    ],
)
def test_an_email_address_is_found_exactly(text, email):
    assert found(text) == [("email", email)]


@pytest.mark.parametrize(
    "text",
    [
        "a@b",
        "@b.com",
        "a @b.com",
        "a@.com",
        "a.@b.com",
        "a@b.c",
        "a@b.c0m",
        "logo@2x.png",
        "a@-b.com",
        "x" * 65 + "@b.com",
        "a@" + "b" * 64 + ".com",
        "@decorator.name",
        "user@host:~/x.y",
    ],
)
def test_what_is_no_email_address_is_not_found(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "phone"),
    [
        ("212-555-0100", "212-555-0100"),
        ("call (212) 555-0100.", "(212) 555-0100"),
        ("(212)555-0100", "(212)555-0100"),
        ("212.555.0100, or", "212.555.0100"),
        ("Tel: 212 555 0100\n", "212 555 0100"),
        ("1-212-555-0100", "1-212-555-0100"),
        ("+1 (212) 555-0100 x33", "+1 (212) 555-0100 x33"),
        ("001-518-640-0854", "001-518-640-0854"),
        ("212-555-0100 ext. 7", "212-555-0100 ext. 7"),
        ("tel:+12125550100", "+12125550100"),
        ("+49 30 1234567!", "+49 30 1234567"),
        ("(+44) 20 7946 0958", "(+44) 20 7946 0958"),
        ("+46 (0)8 928 571 38", "+46 (0)8 928 571 38"),
        ("+33.1.23.45.67.89", "+33.1.23.45.67.89"),
        ("+447700900123", "+447700900123"),
        ("電話+81 3-1234-5678です", "+81 3-1234-5678"),
        ("Phone: 0490 75 40 81", "0490 75 40 81"),
        ("Tél. 0490/75.40.81", "0490/75.40.81"),
        ("call me at (96) 627-277", "(96) 627-277"),
        ("Fax: 9498777106", "9498777106"),
        ("Телефон: 495 123-45-67", "495 123-45-67"),
        ("电话：010-12345678。", "010-12345678"),
        ("416 60 039 office", "416 60 039"),
        ("llama al móvil 612 345 678", "612 345 678"),
        ("ou 01 84 17 61 18.", "01 84 17 61 18"),
        ("from (07) 5331 0577", "(07) 5331 0577"),
        ("or 07700 900 123", "07700 900 123"),
    ],
)
def test_a_telephone_number_is_found_exactly(text, phone):
    assert found(text) == [("phone", phone)]


@pytest.mark.parametrize(
    "text",
    [
        "Exit 137",
        "1700000000",
        "1700000000123",
        "9498777106",
        "ISBN 978-0-306-40615-7",
        "ISBN 0-306-40615-2",
        "978-212-555-0100",
        "212-555-0100-7",
        "123-456-7890",
        "212-555-01000",
        "id212-555-0100",
        "212-555.0100",
        "555-0100",
        "10 212 555 0100 8",
        "078-05-1120",
        "5213 5917 2758 6605",
        "call 2023-10-12",
        "tel. 12/10/2023",
        "phone 1990-2000",
        "call volume 12 000 000",
        "dial 3.14159265",
        "text 20231012",
        "Fax: $1234567",
        "call 12345678",
        "telescope 123 4567",
        "messages 10 20 30 40",
        "recall (07)",
        "01 02 03 04 05 06",
        "ff 00 30 da 03 46 28 08 06",
        "48 ba 09 00 00 00 00 movabs",
        "calls @82-34-95-143.cable",
        "called in SQLite version 3.7.7 (2011-06-23) and",
        "called IEEE Std. 488.2-1987 Codes",
        "message: 0  1  2  3  4  5  6  7  8  9",
        "call 0 1 2 3 4 5 6 7",
        "2023-10-12 10:11:12",
        "40.7128, -74.0060",
        "+40.7128, -74.0060",
        "+40.712812 +74.006012",
        "+27.5916-086.5640",
        "+50000000",
        "+1700000000",
        "+999 1234 5678",
        "C+12125550100",
        "to +922337203685477,5807",
        "0  +4 4294967295",
        "+1234567890123456",
    ],
)
def test_what_is_no_telephone_number_is_not_found(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.2.3.4", "10.2.3.4"),
        ("from 86.121.97.248.", "86.121.97.248"),
        ("http://8.8.8.8/x", "8.8.8.8"),
        ("8.8.8.8:53", "8.8.8.8"),
        ("[192.168.1.255]", "192.168.1.255"),
        ("地址10.2.3.4。", "10.2.3.4"),
    ],
)
def test_an_ip_address_is_found_exactly(text, address):
    assert found(text) == [("ip", address)]


@pytest.mark.parametrize(
    "text",
    [
        "v4.4.2",
        "v1.2.3.4",
        "version 1.2.3.4",
        "Sección 6.3.1.1, “x”",
        "Secțiune\u00a01.3.2.1, „x”",
        "§ 6.3.1.1",
        "2.1.0.0~ubuntu3",
        "1.2.6.2-1 ",
        "Version: 1.2.3.4",
        "numpy-1.2.3.4",
        "Chrome/9.0.1.2",
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.0",
        "224.0.0.1",
        "999.1.1.1",
        "1.1.1.999",
        "256.1.1.1",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3",
        "1.2.3.4a",
    ],
)
def test_what_is_no_ip_address_is_not_found(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    ["2a00:1450:4001:81b::200e", "6e40:4041:c617:e898:c11:40d2:c669:2eb4", "fe80::1234", "fd00:1::2", "2001:db8::1"],
)
def test_an_ipv6_address_is_found_exactly(text):
    assert found(f"at [{text}]:443") == [("ip", text)]


@pytest.mark.parametrize(
    "text",
    [
        "::1",
        "::",
        "ff02::1",
        "2001:db8::/32",
        "std::abs",
        "a::b",
        "Face::Bead",
        "10:11:12",
        "10:11:12:13:14:15:16:17",
        "12:34:56:78:9a:bc:de:f0:12:34:56:78:9a:bc:de:f0",
        "x2a00:1450::200e",
        "1:2:3:4:5:6:7",
    ],
)
def test_what_is_no_ipv6_address_is_not_found(text):
    assert found(text) == []


@pytest.mark.parametrize("text", ["00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E"])
def test_a_hardware_address_is_found_exactly(text):
    assert found(f"mac={text};") == [("mac", text)]


@pytest.mark.parametrize(
    "text", ["00:00:00:00:00:00", "FF-FF-FF-FF-FF-FF", "00:1a:2b:3c:4d:5g", "00-1A-2B-3C-4D-5E-6F", "00:1a-2b:3c:4d:5e"]
)
def test_what_is_no_hardware_address_is_not_found(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "number",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5213591727586604",
        "378282246310005",
        "3782 822463 10005",
        "6011000990139424",
        "3530111333300000",
    ],
)
def test_a_card_number_is_found_exactly(number):
    assert found(f"on {number}, 12/25") == [("credit_card", number)]


@pytest.mark.parametrize("number", ["4007070753690781", "4047737215142", "30579675742677", "501864667909"])
def test_a_number_of_any_length_that_is_announced_as_a_card_is_found(number):
    assert found(f"My card {number} is lost") == [("credit_card", number)]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "4242424242424242",
        "4047737215142",
        "1700000000123",
        "978-3-16-148410-0",
        "9783161484100",
        "0.4111111111111111",
        "0000 0000 0000 0000",
        "1234 4111 1111 1111 1111",
        "4111 1111 1111 1111 2023",
        "4111 1111-1111 1111",
        "id4111111111111111",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_is_no_card_number_is_not_found(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "number",
    ["GB82WEST12345698765432", "GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "no9386011117947"],
)
def test_an_account_number_is_found_exactly(number):
    assert found(f"IBAN: {number}.") == [("iban", number)]


@pytest.mark.parametrize(
    "text",
    [
        "GB83WEST12345698765432",
        "GB82WEST1234569876543",
        "XX82WEST12345698765432",
        "DE893704004405320130001",
        "AB12CD34",
    ],
)
def test_what_is_no_account_number_is_not_found(text):
    assert found(text) == []


def test_the_form_of_the_country_counts_besides_the_check_digits():
    digits = "DE" + f"{98 - int('A00000000000000000131400', 36) % 97:02d}"
    assert found(digits + "A00000000000000000") == []


@pytest.mark.parametrize("text", ["SSN: 531-21-7351", "social security number is 531 21 7351", "ssn 531217351"])
def test_a_social_security_number_is_found_exactly(text):
    assert [name for name, _ in found(text)] == ["ssn"]


@pytest.mark.parametrize(
    "text", ["000-12-3456", "666-12-3456", "900-12-3456", "531-00-7351", "531-21-0000", "531 21 7351"]
)
def test_what_is_no_social_security_number_is_not_found(text):
    assert found(text) == []


# Made of parts, so that nobody's scanner takes them for real ones.
KEYS = (
    "AKIA" + "J7Q2MZ5XWN4RTKLP",
    "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "glpat-" + "x7Gk29_LmQzRt4Vb8NcY",
    "xoxb-" + "2048193756-4917362058-Qm4Zr8TkW2xL",
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "AIza" + "SyD4iE2xVSpkLLOXoyqT-RuPwAzgn3xBcFe",
    "sk-proj-" + "Qm4Zr8TkW2xLp9Vn3Hs6",
    "sk-ant-" + "api03-Qm4Zr8TkW2xLp9Vn3Hs6",
    "npm_" + "Qm4Zr8TkW2xLp9Vn3Hs6Jd7Bc5Gy1Fa0Eu2I",
    "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_a_known_service_is_found_exactly(key):
    assert found(f'x("{key}")') == [("api_key", key)]


def test_what_is_assigned_to_a_name_for_secrets_is_found_if_it_looks_random():
    value = "wJalrXUtnF3MI/K7MD9NG+bPxRfiCYzH0kQ2Lm5T"
    assert found(f'aws_secret_access_key = "{value}"') == [("api_key", value)]
    assert found(f'checksum = "{value}"') == []


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "x" * 35 + "1",
        "ghp_" + "16C7e42F292c6912E771",
        "sk_live_" + "1" * 24,
        "token = da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "commit 9c57046a1b2c3d4e5f60718293a4b5c6d7e8f901",
        "550e8400-e29b-41d4-a716-446655440000",
        "api_key = your_api_key_goes_here_123",
        "secret: get_secret_from_environment_2(x)",
        "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "token: averylongidentifierwith1digit",
    ],
)
def test_hashes_identifiers_and_placeholders_are_no_secrets(text):
    assert found(text) == []


PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "MIIEowIBAAKCAQEA7Qm4Zr8TkW2xLp9Vn3Hs6Jd7Bc5G\n" * 3
    + "-----END RSA PRIVATE KEY-----"
)


def test_a_private_key_is_found_from_its_first_line_to_its_last():
    assert found(f"é {PEM}\nx") == [("private_key", PEM)]
    assert found("k = " + repr(PEM)) == [("private_key", repr(PEM)[1:-1])]


def test_a_private_key_without_a_last_line_goes_as_far_as_base64():
    cut = PEM.removesuffix("-----END RSA PRIVATE KEY-----").rstrip()
    assert spans(cut + "\n***")[0]["private_key"] == [(0, len(cut), 0.6)]
    assert found(cut + "\n" + PEM) == [("private_key", cut), ("private_key", PEM)]


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n... (in base64, which goes on for many lines) ...\n-----END PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\n" + "A" * 100 + "\n-----END PUBLIC KEY-----",
        "-----END PRIVATE KEY-----" + "A" * 100,
        "PRIVATE KEY-----",
    ],
)
def test_what_is_no_private_key_is_not_found(text):
    assert found(text) == []


def test_a_private_key_ends_with_its_document():
    head, tail = PEM[:100], PEM[100:]
    assert [some["private_key"] for some in spans(head, tail)] == [[(0, 100, 0.6)], []]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.com", 0.95),
        ("a@example.com", 0.6),
        ("212-555-0100", 0.85),
        ("call 212-555-0100", 0.95),
        ("+49 30 1234567", 0.95),
        ("tel. 467 3395", 0.85),
        ("call me on 467 3395", 0.75),
        ("ou 01 84 17 61 18", 0.6),
        ("86.121.97.248", 0.9),
        ("192.168.1.2", 0.6),
        ("see 8.8.8.8", 0.4),
        ("ping 8.8.8.8", 0.6),
        ("8.8.8.8/32", 0.6),
        ("6.6.4.2. Heading", 0.3),
        ("531-21-7351", 0.5),
        ("SSN 531-21-7351", 0.95),
        ("5213591727586604", 0.6),
        ("4111 1111 1111 1111", 0.8),
        ("visa 4111 1111 1111 1111", 0.95),
        ("card 3521213764418045", 0.75),
        ("GB82WEST12345698765432", 0.95),
        ("00:1a:2b:3c:4d:5e", 0.9),
    ],
)
def test_the_score_says_how_sure_the_form_makes_it(text, expected):
    assert score(text) == expected


def test_the_digits_of_an_account_number_are_no_telephone_number():
    assert found("call DE89 3704 0044 0532 0130 00") == [("iban", "DE89 3704 0044 0532 0130 00")]


def test_types_limit_what_is_looked_for():
    text = "a@b.com 86.121.97.248 " + PEM
    assert list(spans(text, types=["ip"])[0]) == ["ip"]
    assert found(text, types=["ip"]) == [("ip", "86.121.97.248")]


def test_min_score_leaves_out_what_is_less_sure():
    text = "a@b.com a@example.com"
    assert found(text, min_score=0.9) == [("email", "a@b.com")]
    assert [name for name, _ in found("6.6.4.2. Heading", min_score=0)] == ["ip"]
    assert found("6.6.4.2. Heading") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": ["emial"]}, "pii: no type 'emial'; did you mean 'email'"),
        ({"types": []}, r"pii: types=\[\]; expected a list of email, phone"),
        ({"types": "email"}, "pii: types='email'; expected a list of email, phone"),
        ({"min_score": 2}, "pii: min_score=2; expected a number from 0 to 1"),
        ({"min_score": "high"}, "pii: min_score='high'; expected a number from 0 to 1"),
    ],
)
def test_options_that_it_does_not_take_are_errors(options, message):
    with pytest.raises(ConfigError, match=message):
        Pii(**options)


def test_spans_are_code_points_with_an_exclusive_end():
    assert spans("", "é🎉 a@b.com")[1]["email"] == [(3, 10, 0.95)]


def test_two_addresses_in_one_text_are_two_spans():
    assert found("10.0.0.1-10.0.0.5 a@b.com;c@d.org") == [
        ("email", "a@b.com"),
        ("email", "c@d.org"),
        ("ip", "10.0.0.1"),
        ("ip", "10.0.0.5"),
    ]


def test_a_match_never_reaches_into_the_next_document():
    assert spans("a@b", ".com", "+1 212-555-", "0100", "1.2.3", ".4") == [{name: [] for name in TYPES}] * 6


def test_the_text_before_a_document_is_not_its_context():
    assert [some["ip"] for some in spans("version ", "81.2.3.4", "v", "85.6.7.8")] == [
        [],
        [(0, 8, 0.9)],
        [],
        [(0, 8, 0.9)],
    ]


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from("+.-@ ")), max_size=6
    )
)
def test_an_address_between_spaces_is_found_in_any_text(around):
    before, after = "".join(around[::2]) + " ", " " + "".join(around[1::2])
    text = before + "someone@mail.example" + after
    assert (len(before), len(before) + 20, 0.6) in spans(text)[0]["email"]


@pytest.mark.parametrize("name", TYPES)
def test_a_type_asked_for_alone_is_as_among_all(name):
    text = (
        "a@b.com, tel. 212-555-0100 +49 30 1234567, 81.2.3.4 fe80::1 00:1b:44:11:3a:b7, visa 4111 1111 1111 1111,"
        " GB82 WEST 1234 5698 7654 32, SSN 531-21-7351, token = 'ghp_16C7e42F292c6912E7710c838347Ae178B4a',"
        " DE89370400440532013000 call 212-555-0100"
    )
    assert spans(text, types=[name])[0][name] == spans(text)[0][name]


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789+.-() @ab:"), max_size=200))
def test_spans_ascend_without_overlap_within_the_text(text):
    for some in spans(text)[0].values():
        bounds = [bound for start, end, _ in some for bound in (start, end)]
        assert bounds == sorted(bounds)
        assert all(0 <= start < end <= len(text) for start, end, _ in some)


def test_five_megabytes_of_addresses_take_linear_time():
    assert len(spans("81.1.1.1 " * 100_000)[0]["ip"]) == 100_000
    assert spans("a" * 5_000_000)[0] == {name: [] for name in TYPES}
