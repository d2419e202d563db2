import pytest

from keras_split.errors import CodecError
from keras_split.utils.registry import Registry


class Thing:
    pass


def registry(**options):
    return Registry("thing", CodecError, **options)


def test_things_are_found_by_name_in_their_order():
    things, one, other = registry(), Thing(), Thing()

    things.register("b", one)
    things.register("a", other)

    assert things.names() == ("b", "a")
    assert things.items["b"] is one


def test_the_same_thing_may_be_registered_twice():
    things, one = registry(), Thing()
    things.register("a", one)

    things.register("a", one)

    assert things.items["a"] is one


def test_another_thing_under_a_taken_name_is_refused():
    things, one = registry(), Thing()
    things.register("a", one)

    with pytest.raises(CodecError, match="name of its own. Received: 'a'"):
        things.register("a", Thing())

    assert things.items["a"] is one


def test_a_class_that_is_defined_again_takes_its_own_place():
    """As when a cell of a notebook runs twice."""

    def cell():
        class Mine:
            pass

        return Mine()

    things, again = registry(), cell()
    things.register("a", cell())

    things.register("a", again)

    assert things.items["a"] is again


@pytest.mark.parametrize("first", [0, 1])
def test_names_beside_each_other_do_not_mean_two_things(first):
    one = registry()
    both = [one, registry(beside=one)]
    both[first].register("a", Thing())

    with pytest.raises(CodecError, match="name of its own"):
        both[1 - first].register("a", Thing())


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\n", "-a", "é", "a" * 33, None, 3, b"a"]
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(CodecError, match="1 to 32 letters") as caught:
        registry().register(name, Thing())

    assert f"Received: {name!r}" in str(caught.value)


@pytest.mark.parametrize("name", ["a", "float8_e4m3", "zstd-9", "x.y+z", "8"])
def test_names_are_short_and_can_be_typed(name):
    things = registry()

    things.register(name, Thing())

    assert things.names() == (name,)


def test_nobody_writes_into_the_items():
    with pytest.raises(TypeError):
        registry().items["a"] = Thing()
