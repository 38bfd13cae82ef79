"""What Ray raises arrives as `Lost`, and as `Silent` where the other side may well live."""

from concurrent.futures import Future

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError

from actors.ports import Lost, Silent
from actors.remote import answer


class Reference:
    """A call that ended so, or has not ended."""

    def __init__(self, raised: Exception | None) -> None:
        self._raised = raised

    def future(self) -> Future[object]:
        made: Future[object] = Future()
        if self._raised is not None:
            made.set_exception(self._raised)
        return made


async def test_a_dead_actor_is_lost() -> None:
    with pytest.raises(Lost) as lost:
        await answer(Reference(ActorDiedError()), 1.0)
    assert not isinstance(lost.value, Silent)


@pytest.mark.parametrize("raised", [ActorUnavailableError("rpc_code: 14", None), None])
async def test_a_call_lost_on_the_way_and_a_hung_actor_say_nothing_of_its_life(raised: Exception | None) -> None:
    with pytest.raises(Silent):
        await answer(Reference(raised), 0.01)
