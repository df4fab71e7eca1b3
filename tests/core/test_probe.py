from datetime import UTC, datetime, timedelta
from sqlalchemy import text
from alertctl import outbox
from alertctl.publish import *
from alertctl.routing import Audience
import pytest
NOW=datetime(2026,3,2,tzinfo=UTC)
AUD=Audience("#platform-alerts",("ops@corp.example",),frozenset({"slack","email"}))
def test_limit(store):
    if store.is_sqlite: return
    p=[prepare("safety_rollback",{},AUD,to=[f"slack:#c{i}"]) for i in range(50)]
    store.write(lambda c: publish(c,p,NOW))
    lane=outbox.Lane("slack","slack")
    def go(c):
        for k in ("hashjoin","hashagg","sort","material","mergejoin","memoize","indexscan","bitmapscan"): c.execute(text(f"set local enable_{k}=off"))
        return outbox.claim(c,lane,(7,7,7),NOW,30)
    got=store.write(go)
    assert len(got.taken)==7
def test_yield(store):
    lane=outbox.Lane("slack","slack")
    def both(c):
        publish(c,[prepare("safety_rollback",{},AUD)],NOW)
        return outbox.claim(c,lane,(7,7,7),NOW,30)
    assert len(store.write(both).taken)==1
