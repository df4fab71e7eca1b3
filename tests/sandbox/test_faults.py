from __future__ import annotations

import pytest

from alertctl.sandbox import Chaos, Fault, Faults, Sandbox, parse_chaos
from alertctl.sandbox.faults import KINDS, parse_fault
from tests.support.sandbox_clients import mail_payload, post_message, send_mail


@pytest.fixture
def faults() -> Faults:
    return Faults("slack", {"missing": "slack:channel_not_found", "flaky": "http_503"})


def fault_at(faults: Faults, *addresses: str) -> str:
    return str(faults.choose("request", addresses) or "ok")


def test_nothing_strikes_at_first(faults: Faults) -> None:
    assert fault_at(faults, "#general") == "ok"


def test_a_script_is_one_fault_a_request_and_then_over(faults: Faults) -> None:
    faults.then("http_503", "ok", "http_500")
    faults.then("empty_200")

    assert [fault_at(faults) for _ in range(5)] == ["http:503", "ok", "http:500", "empty_200", "ok"]


def test_always_lasts_until_clear(faults: Faults) -> None:
    faults.always("http_500")
    faults.always("http_503")
    assert {fault_at(faults, "#a") for _ in range(5)} == {"http:503"}

    faults.clear()
    assert fault_at(faults) == "ok"


def test_always_ok_is_no_fault(faults: Faults) -> None:
    faults.always("ok")

    assert fault_at(faults) == "ok"


def test_sometimes_is_as_often_as_its_chance_and_the_same_for_the_same_seed() -> None:
    def run(seed: int) -> list[str]:
        faults = Faults("slack", {})
        faults.sometimes("http_503", 0.3, seed)
        return [fault_at(faults) for _ in range(1000)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 250 < run(1).count("http:503") < 350


def test_addresses_are_compared_without_case_and_hash(faults: Faults) -> None:
    faults.at("#Prod", "http_500")

    assert fault_at(faults, "prod") == fault_at(faults, "#PROD") == "http:500"
    assert fault_at(faults, "#prod-2") == "ok"


def test_a_local_part_stands_for_any_domain(faults: Faults) -> None:
    faults.at("ops@", "http_500")

    assert fault_at(faults, "Ops@corp.example") == "http:500"
    assert fault_at(faults, "devops@corp.example") == "ok"


def test_the_script_goes_before_the_address_and_the_address_before_always(faults: Faults) -> None:
    faults.always("http_500")
    faults.at("#a", "http_501")
    faults.at("#good", "ok")
    faults.then("http_502")

    assert fault_at(faults, "#a") == "http:502"
    assert fault_at(faults, "#a") == "http:501"
    assert fault_at(faults, "#b") == "http:500"
    assert fault_at(faults, "#good") == "ok"


def test_an_address_can_be_freed_of_its_built_in_fault(faults: Faults) -> None:
    assert fault_at(faults, "#missing") == "slack:channel_not_found"

    faults.at("#missing", "ok")
    assert fault_at(faults, "#missing") == "ok"


def test_a_flaky_address_recovers_until_it_is_forgotten(faults: Faults) -> None:
    assert [fault_at(faults, "#flaky") for _ in range(3)] == ["http:503", "ok", "ok"]

    faults.forget_flaky()
    assert fault_at(faults, "#flaky") == "http:503"


def test_a_fault_of_another_stage_waits(faults: Faults) -> None:
    faults.then("close_before_reading", "http_500")

    assert fault_at(faults) == "ok"
    assert faults.choose("connect") == Fault("close_before_reading", "connect")
    assert fault_at(faults) == "http:500"


@pytest.mark.parametrize("text", ["http_999", "http_", "nonsense", "dot_451", "no_message_id", "slack", ""])
def test_a_fault_that_is_not_known_is_refused_with_those_that_are(faults: Faults, text: str) -> None:
    with pytest.raises(ValueError, match=r"slack knows no fault .*it knows: http_NNN, 429, "):
        faults.always(text)


@pytest.mark.parametrize("chance", [-0.1, 1.1])
def test_a_chance_is_from_0_to_1(faults: Faults, chance: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        faults.sometimes("http_500", chance)


def test_a_fault_before_the_address_is_known_cannot_belong_to_one() -> None:
    with pytest.raises(ValueError, match="auth:535 strikes before an address is known"):
        Faults("smtp", {}).at("a@b.example", "auth_535")


def test_every_row_of_the_table_can_be_written_and_read() -> None:
    for kind in KINDS:
        text = kind.form.replace("NNN", "451").replace("COUNT", "3")
        for provider in kind.providers:
            assert parse_fault(text, provider).name == kind.name


def test_a_batch_meets_the_fault_of_any_of_its_addresses(sandbox: Sandbox) -> None:
    sandbox.sendgrid.faults.at("b@corp.example", "http_500")
    people = [{"to": [{"email": f"{name}@corp.example"}]} for name in "abc"]

    assert send_mail(sandbox, mail_payload(personalizations=people)).status == 500
    assert send_mail(sandbox, mail_payload(personalizations=people[:1])).status == 202


def test_chaos_is_read_part_by_part() -> None:
    text = (
        "slack=429:20%, smtp=451:12.5%,sendgrid=http_503,slack.#missing=slack:is_archived,smtp.a@b.example=550:50%,"
        "smtp=mail_limit_452:3:20%"
    )

    assert parse_chaos(text) == (
        Chaos("slack", Fault("429", "request"), 0.2),
        Chaos("smtp", Fault("dot", "request", "451"), 0.125),
        Chaos("sendgrid", Fault("http", "request", "503")),
        Chaos("slack", Fault("slack", "request", "is_archived"), 1.0, "#missing"),
        Chaos("smtp", Fault("dot", "request", "550"), 0.5, "a@b.example"),
        Chaos("smtp", Fault("mail_limit", "session", "452", 3), 0.2),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("slack=429:30:20%", "30"),
        ("slack=429:Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ('slack=reply:{"ok":true,"ts":"1.1"}:50%', '{"ok":true,"ts":"1.1"}'),
        ("slack=redirect_302:http://127.0.0.1:9/?a=b", "http://127.0.0.1:9/?a=b"),
    ],
)
def test_chaos_does_not_split_a_value_with_colons_and_commas(text: str, value: str) -> None:
    (part,) = parse_chaos(text)

    assert part.fault.value == value


@pytest.mark.parametrize("text", ["", " "])
def test_no_chaos_is_no_chaos(text: str) -> None:
    assert parse_chaos(text) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slack", r"'slack' is not PROVIDER\[\.ADDRESS\]=FAULT\[:PERCENT%\], for example slack=429:20%"),
        ("slack=", "'slack=' is not PROVIDER"),
        ("slak=429", "'slak=429': there is no provider 'slak'; there are slack, sendgrid, smtp"),
        ("slack=429:20%,slak=429", "'slak=429': there is no provider"),
        ("slack=flood", "'slack=flood': slack knows no fault 'flood'; it knows: "),
        ("slack=http_503:0%", "0% is not a chance; above 0% and up to 100%"),
        ("slack=http_503:101%", "101% is not a chance"),
        ("slack=http_503:1.2.3%", "1.2.3% is not a chance"),
        ("slack=429,,smtp=451", "'slack=429,' is not|slack knows no fault '429,'"),
        ("smtp.a@b.example=auth_535", "strikes before an address is known"),
    ],
)
def test_bad_chaos_is_one_sentence_about_its_part(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_chaos(text)

    assert "\n" not in str(caught.value)


def test_chaos_strikes_from_the_start() -> None:
    with Sandbox(chaos="slack=http_503:50%,slack.#down=slack:is_archived", seed=1) as sandbox:
        statuses = [post_message(sandbox).status for _ in range(40)]
        assert post_message(sandbox, "#down").json["error"] == "is_archived"

    assert 5 < statuses.count(503) < 35
    assert statuses.count(200) + statuses.count(503) == 40
