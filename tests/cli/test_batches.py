import numpy as np

from keras_split_cli.batches import Batches

X = np.arange(5.0)


def rows(batches):
    return [batches[index] for index in range(len(batches))]


def test_each_epoch_has_an_order_that_follows_from_the_seed():
    batches, again = (Batches(X, X + 10, 2, -3, weights=X) for _ in "ab")
    orders = []

    for epoch in (0, 1):
        batches.shuffle(epoch)
        again.shuffle(epoch)
        for (x, y, weights), other in zip(
            rows(batches), rows(again), strict=True
        ):
            np.testing.assert_array_equal(x, other[0])
            np.testing.assert_array_equal(y, x + 10)
            np.testing.assert_array_equal(weights, x)
        orders.append(np.concatenate([x for x, *_ in rows(batches)]))

    assert sorted(orders[0]) == sorted(orders[1]) == X.tolist()
    assert orders[0].tolist() != orders[1].tolist()


def test_inputs_are_prepared_and_labels_packed_batch_by_batch():
    places = []

    def prepare(x, epoch, batch):
        places.append((epoch, batch))
        return -x

    batches = Batches(
        X, X, 3, None, prepare=prepare, pack=lambda flat: {"out": flat[0]}
    )
    batches.shuffle(7)
    made = rows(batches)

    assert [x.tolist() for x, _ in made] == [[0, -1, -2], [-3, -4]]
    assert made[1][1]["out"].tolist() == [3, 4]
    assert places == [(7, 0), (7, 1)]
