"""In place of a package that only tests of the chart use: Kubernetes' client imports it wherever it is installed, for 1.5 s."""

raise ImportError("servers that are tested run without kubernetes_validate, as their users' do")
