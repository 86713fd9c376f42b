"""What several replicas of the gateway agree on about kernels of a cluster: who knows them, who acts, who objects."""
