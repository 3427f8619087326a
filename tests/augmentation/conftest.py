import sys
sys.path.insert(0,'/tmp')
import pytest
from fakehud import Fake
@pytest.fixture(autouse=True, scope='session')
def fake():
    import hud_fast.augmentation.generator as g
    g.HUD=Fake
    yield
