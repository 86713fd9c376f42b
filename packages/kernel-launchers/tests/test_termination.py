from kernel_launchers.termination import report


def test_the_end_of_a_message_stands_where_kubernetes_looks_for_it(tmp_path, capsys):
    file = tmp_path / "termination-log"
    file.touch()
    report("x" * 5000 + " the cause", file=file)
    assert file.read_text().endswith(" the cause")
    assert len(file.read_bytes()) == 4096
    assert "the cause" in capsys.readouterr().err


def test_outside_of_kubernetes_only_the_log_has_it(tmp_path, capsys):
    report("the cause", file=tmp_path / "none")
    assert "the cause" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
