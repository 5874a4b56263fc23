from jobs.tree import MOST, TEXT, Node, tree

MASK = "••••••"


def flat(node: Node) -> list[tuple[str, str, str]]:
    here = [(child.name, child.kind, child.text) for child in node.children]
    return here + [row for child in node.children for row in flat(child)]


def test_each_value_has_its_name_its_kind_and_its_json() -> None:
    value = {"to": "a", "n": 1.5, "ok": True, "none": None, "password": MASK, "list": ["x"]}
    assert flat(tree(value, MASK)) == [
        ("to", "text", '"a"'),
        ("n", "number", "1.5"),
        ("ok", "word", "true"),
        ("none", "word", "null"),
        ("password", "masked", MASK),
        ("list", "array", ""),
        ("0", "text", '"x"'),
    ]


def test_a_large_value_is_cut_and_says_by_how_much() -> None:
    root = tree({"records": [{"n": n} for n in range(10_000)], "last": 1}, MASK)
    (records,) = root.children
    assert len(flat(root)) == MOST
    assert records.more == 10_000 - len(records.children)
    assert root.more == 1
    assert not records.opened


def test_a_long_text_is_cut() -> None:
    (child,) = tree(["x" * 10_000], MASK).children
    assert len(child.text) == TEXT + 1


def test_a_small_tree_begins_open_and_a_value_alone_is_one() -> None:
    (outer,) = tree({"a": {"b": {"c": 1}}}, MASK).children
    assert outer.opened
    assert outer.children[0].opened
    assert tree(7, MASK).text == "7"
