from sqlalchemy import text
def test_a(store):
    with store.reading() as c: assert c.execute(text("select 1")).scalar()==1
def test_b(store, sandbox):
    with store.reading() as c: assert c.execute(text("select count(*) from delivery")).scalar()==0
