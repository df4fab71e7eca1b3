from datetime import UTC, datetime, timedelta
from sqlalchemy import text
from alertctl import outbox
from alertctl.publish import *
from alertctl.routing import Audience
import pytest
NOW=datetime(2026,3,2,tzinfo=UTC)
AUD=Audience("#platform-alerts",("ops@corp.example",),frozenset({"slack","email"}))
def test_limit(store):
    p=[prepare("safety_rollback",{},AUD,to=[f"slack:#c{i}"]) for i in range(5)]
    store.write(lambda c: publish(c,p,NOW))
    lane=outbox.Lane("slack","slack")
    for analyze in (0,1):
        if analyze and not store.is_sqlite: store.write(lambda c: c.execute(text("analyze delivery")))
        got=store.write(lambda c: outbox.claim(c,lane,(1,1,1),NOW,30))
        assert len(got.taken)==1
    p=[prepare("safety_rollback",{},AUD,to=[f"slack:#c{i}"]) for i in range(500)]
    store.write(lambda c: publish(c,p,NOW))
    if not store.is_sqlite:
        store.write(lambda c: c.execute(text("analyze delivery")))
        with store.reading() as c:
          for off in ("","set enable_hashjoin=off; set enable_hashagg=off; set enable_sort=off"):
            if off: c.execute(text(off))
            print(off); print("\n".join(r[0] for r in c.execute(text("explain update delivery set status='sending' where id in (select id from delivery where channel='slack' and next_attempt_at<=now() and urgency=0 order by next_attempt_at limit 5 for update skip locked) returning id"))))
    got=store.write(lambda c: outbox.claim(c,lane,(7,7,7),NOW,30))
    assert len(got.taken)==7
def test_yield(store):
    lane=outbox.Lane("slack","slack")
    def both(c):
        publish(c,[prepare("safety_rollback",{},AUD)],NOW)
        return outbox.claim(c,lane,(7,7,7),NOW,30)
    assert len(store.write(both).taken)==1
