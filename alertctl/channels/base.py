"""The interface between a channel and the dispatcher, and the description of a channel's type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from alertctl.errors import DeliveryError, Reason
from alertctl.text import ANSWER_LIMIT, Redactor, cut, redacted

if TYPE_CHECKING:
    from alertctl.config import Settings
    from alertctl.content import Content, Severity
    from alertctl.http.client import HttpClient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """The form of a message, as the route or setting that chose its target wants it.

    `style` is `full` or `compact`. `mention` are emails of people and ids of groups, who are mentioned from the
    severity `mention_from` up. `threads`: whether messages about a subject form a thread, None for the default.
    """

    style: str = "full"
    mention: tuple[str, ...] = ()
    mention_from: str = "warning"
    threads: bool | None = None

    def mentions_at(self, severity: Severity) -> tuple[Mention, ...]:
        """Return the mentions of a message of this severity: groups by id, people as text until they are looked up."""
        from alertctl.content import Severity  # imported late: a command that only calls a server needs no content

        ranks = [*Severity]
        if self.mention_from in ranks and ranks.index(severity) < ranks.index(Severity(self.mention_from)):
            return ()
        return tuple(Mention(name, None if "@" in name else name) for name in self.mention)

    def to_json(self) -> str | None:
        """Return the options that differ from the defaults as JSON, None without any."""
        options = {name: getattr(self, name) for name in self.__slots__}
        changed = {name: value for name, value in options.items() if value != getattr(DEFAULT_OPTIONS, name)}
        return json.dumps(changed) if changed else None

    @classmethod
    def from_json(cls, text: str | None) -> MessageOptions:
        """Return stored options; those of another version of alertctl that this one doesn't know are ignored."""
        if text is None:
            return DEFAULT_OPTIONS
        options = {name: value for name, value in json.loads(text).items() if name in cls.__slots__}
        return cls(**options | ({"mention": tuple(options["mention"])} if "mention" in options else {}))


DEFAULT_OPTIONS = MessageOptions()


@dataclass(frozen=True, slots=True)
class Mention:
    """A person or group to mention: `provider_id` at the provider, or None for `text` without a mention."""

    text: str
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class ThreadRoot:
    """The message to which another one replies: the provider's ids of its channel and of the message.

    `style` is that of the message, which its edits keep.
    """

    provider_channel: str
    root_ts: str
    style: str = DEFAULT_OPTIONS.style


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A delivery as a channel sees it. `plain` asks for plain text, after the formatted message was rejected.

    `routing_reason` and `route` say why this target was chosen. `recipient_id` is the provider's id of a person who is
    addressed by email. `reply_to` is the root of its thread; a `broadcast` reply is shown in the channel, too.
    """

    delivery_id: str
    address: str
    plain: bool = False
    routing_reason: str = ""
    route: str | None = None
    options: MessageOptions = DEFAULT_OPTIONS
    mentions: tuple[Mention, ...] = ()
    recipient_id: str | None = None
    reply_to: ThreadRoot | None = None
    broadcast: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider accepted the message. `provider_id` is Slack's ts, SendGrid's X-Message-Id or our Message-ID.

    `answer` is the provider's answer, redacted and truncated to 2 kB. `provider_channel` is the channel in which the
    provider says the message is, `in_thread` whether it is a reply there. `note` tells what the message lacks.
    """

    provider_id: str
    answer: str = ""
    provider_channel: str | None = None
    in_thread: bool = False
    note: str | None = None


SendResult = Receipt | DeliveryError


def with_note(result: SendResult, *notes: str) -> SendResult:
    """Return a receipt with further notes, one a line, at most 2 kB. An error is returned unchanged."""
    if not notes or not isinstance(result, Receipt):
        return result
    return replace(result, note=cut("\n".join(filter(None, (result.note, *notes))), ANSWER_LIMIT))


def result_of(send: Callable[[], T], redact: Redactor) -> T | DeliveryError:
    """Return what `send` returns, or the redacted error that it raises: ambiguous for an unexpected exception."""
    try:
        return send()
    except DeliveryError as error:
        return redacted(error, redact)
    except Exception as exc:
        return DeliveryError(Reason.AMBIGUOUS, "unexpected", detail=redact(repr(exc)))


@contextmanager
def rendering() -> Iterator[None]:
    """Raise every error within as a DeliveryError: the message is rejected, and nothing is sent."""
    try:
        yield
    except Exception as exc:
        raise DeliveryError(Reason.REJECTED, "unrenderable", detail=repr(exc)) from None


class Channel(Protocol):
    """Sends one event's content to one or more addresses. Safe to call from many threads at once."""

    name: str
    """The name of its `ChannelType`."""
    provider: str
    """`slack`, `sendgrid` or `smtp`."""
    batch_size: int
    """Messages of one event that `send` takes at once (1 for all but SendGrid)."""
    deadline: float
    """Seconds that one request may take. `send` may take longer, for a slow mail server or a divided batch."""

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        """Send the messages; return a result for each, in order. No failure of a provider or a network raises."""

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """Return the message that `send` would send, as JSON data: Slack's payload, or an email's headers and parts."""

    def close(self) -> None:
        """Close the kept connections."""


NOT_CONFIGURED = "not_configured"


class Unconfigured:
    """A channel that calls no provider: each delivery fails and waits. `problem` names the missing or wrong settings.

    `code` is the failure's code. A subclass has `name`, `provider` and `render`.
    """

    batch_size = 1
    deadline = 1.0

    def __init__(self, problem: str, code: str = NOT_CONFIGURED) -> None:
        self._problem = problem
        self._code = code

    def failure(self) -> DeliveryError:
        return DeliveryError(Reason.CONFIG, self._code, detail=self._problem)

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        return [self.failure() for _ in messages]

    def close(self) -> None:
        """Do nothing: there are no connections."""


@runtime_checkable
class ThreadedChannel(Protocol):
    """A channel that sends replies (`OutgoingMessage.reply_to`) and edits the root of a thread."""

    def update_root(self, root: ThreadRoot, contents: Sequence[Content], earlier: int) -> SendResult:
        """Edit the root to show these events of its subject, oldest first, and the number of `earlier` ones.

        No failure of a provider or a network raises.
        """


class Directory(Protocol):
    """Finds people at the provider: what a channel can do whose `ChannelType.has_directory` is set."""

    def find_person(self, email: str, timeout: float) -> str | None:
        """Return the provider's id of the person with this email, None if there is none.

        Takes `timeout` seconds at most. Raises DeliveryError, never with the reason AMBIGUOUS: nothing was sent.
        """


class RateLimit(NamedTuple):
    """Limit of messages to an address: `per_second` (0: unlimited), after a `burst`."""

    per_second: float = 0.0
    burst: int = 1


class RoutingReason(NamedTuple):
    """Why a target was chosen. `reason` may contain {user} and {event_type}.

    `recipient` completes "You receive this because …" in a message and may contain {event_type} and {route}.
    """

    name: str
    summary: str
    reason: str
    recipient: str = "this address is a recipient of {event_type}"


DEFAULT_ROUTING_REASON = RoutingReason("default_address", "a default address", "it is a default address")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelType:
    """A kind of channel; `CHANNEL_TYPES` lists them all.

    The section of the settings with its name has the field `enabled`.
    """

    name: str
    build: Callable[[Settings], Channel]
    """Load the channel's libraries and return the channel."""
    unconfigured: Callable[[str, str], Channel]
    """Return a channel that fails each delivery. The argument is the problem of the settings."""
    message_text: Callable[[Mapping[str, Any]], str]
    """Return a rendered message as plain text."""
    address_example: str
    address_schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema for an address, an approximation of `addresses.check_address`."""
    default_addresses: Callable[[Settings], Sequence[str]] = lambda settings: ()
    """Return the channel's default addresses, for events that no route sends elsewhere."""
    default_addresses_setting: str = ""
    default_routing_reason: RoutingReason = DEFAULT_ROUTING_REASON
    default_address_options: Callable[[Settings], MessageOptions] = lambda settings: DEFAULT_OPTIONS
    """Return the options of messages to its default addresses."""
    message_options: Callable[[Settings], MessageOptions] = lambda settings: DEFAULT_OPTIONS
    """Return the options of all other messages where no route sets them."""
    user_routing_reason: RoutingReason | None = None
    """Why a user's target was chosen, None without preferences for this channel."""
    address_preference: str | None = None
    """The preference with a user's address. The preference `NAME_enabled` switches the channel off."""
    users_have_address: bool = False
    """Whether a user has an address without this preference."""
    rate_limit: Callable[[Settings], RateLimit] = lambda settings: RateLimit()
    allowed_addresses: Callable[[Settings], Sequence[str]] = lambda settings: ()
    """Return the globs that limit the addresses of callers and users; none: all are allowed."""
    allowed_addresses_setting: str = ""
    has_directory: bool = False
    """Its channels find people by email (`Directory`), as recipients (`@EMAIL`) and to mention them."""
    own_address: Callable[[str], str | None] = lambda caller: None
    """Return the address of a caller by name, None if the name is none."""
    settings_prefixes: Callable[[Settings], Sequence[str]] = lambda settings: ()
    """Return the prefixes of further settings that the channel uses, besides its own section's."""
    template_problems: Callable[[Settings, Content], Iterable[tuple[str, str]]] = lambda settings, content: ()
    """Return the setting and the problem of each own template that can't be rendered with this content."""
    appearance_settings: Sequence[str] = ()
    """Settings of the messages' appearance: a mistake in them does not keep the channel from sending."""
    renderings: Sequence[str] = ("text",)
    """Formats of `log show --rendered`: `text`, `html`, or the channel's name for the payload."""
    threads: Callable[[Settings], bool] | None = None
    """Return whether messages about a subject form a thread by default; None for a channel without threads.

    A channel with threads is a `ThreadedChannel`.
    """
    providers: Sequence[str] = ()
    """The names that its channels can have as `provider`; empty for the channel type's own name."""

    @property
    def enabled_setting(self) -> str:
        return f"{self.name.upper()}_ENABLED"

    @property
    def target_example(self) -> str:
        return f"{self.name}:{self.address_example}"


def http_client(settings: Settings) -> HttpClient:
    """Return a client for a provider's HTTP API."""
    from alertctl.http.client import HttpClient

    options = settings.alertctl
    return HttpClient(options.deadline, options.ca_bundle, pool_size=options.senders)
