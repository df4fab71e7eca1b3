"""The tables by which running daemons know of each other."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, Integer, String
from sqlmodel import Field, SQLModel

from alertctl.models.columns import id_column, time_column


class InstanceReport(SQLModel, table=True):
    """A running daemon and the hash of its routes. It is valid while `reported_at` is recent."""

    __tablename__ = "instance"
    id: str = Field(sa_column=id_column())
    host: str = Field(sa_column=Column(String(255), nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    routes_hash: str = Field(sa_column=Column(String(64), nullable=False))
    reported_at: datetime = Field(sa_column=time_column(nullable=False))


class Pause(SQLModel, table=True):
    """A provider (empty `address_key`) or one of its addresses that is not called before `until`, and why."""

    __tablename__ = "pause"
    provider: str = Field(sa_column=Column(String(16), primary_key=True))
    address_key: str = Field(default="", sa_column=Column(String(254), primary_key=True))
    until: datetime = Field(sa_column=time_column(nullable=False))
    reason: str = Field(sa_column=Column(String(16), nullable=False))
    code: str = Field(sa_column=Column(String(100), nullable=False))
    since: datetime = Field(sa_column=time_column(nullable=False))


class BreakerReport(SQLModel, table=True):
    """A running daemon's open circuit breaker, for people to read. No process acts on another's report.

    It is valid while `reported_at` is recent: the daemon renews it, and removes it when its breaker closes.
    """

    __tablename__ = "breaker_report"
    instance_id: str = Field(sa_column=id_column())
    provider: str = Field(sa_column=Column(String(16), primary_key=True))
    host: str = Field(sa_column=Column(String(255), nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    code: str = Field(sa_column=Column(String(100), nullable=False))
    since: datetime = Field(sa_column=time_column(nullable=False))
    next_probe_at: datetime = Field(sa_column=time_column(nullable=False))
    reported_at: datetime = Field(sa_column=time_column(nullable=False))


class ProbeRequest(SQLModel, table=True):
    """How often all instances were asked to probe a provider at once. An open breaker that sees a new number probes."""

    __tablename__ = "probe_request"
    provider: str = Field(sa_column=Column(String(16), primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))


class Run(SQLModel, table=True):
    """A job's run for one period. The unique row keeps two daemons from running it twice."""

    __tablename__ = "run"
    job: str = Field(sa_column=Column(String(32), primary_key=True))
    period: str = Field(sa_column=Column(String(32), primary_key=True))
    started_at: datetime = Field(sa_column=time_column(nullable=False))
