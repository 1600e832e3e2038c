"""How the program logs in to the EKS cluster, without a token in the state."""

import pulumi

from components.kubernetes.cluster_facts import ClusterFacts


def eks_kubeconfig(facts: ClusterFacts) -> pulumi.Output[str]:
    """A kubeconfig, as JSON, whose user gets a token from the AWS CLI at each use."""
    return pulumi.Output.json_dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": facts.name,
            "contexts": [{"name": facts.name, "context": {"cluster": facts.name, "user": facts.name}}],
            "clusters": [
                {
                    "name": facts.name,
                    "cluster": {"server": facts.endpoint, "certificate-authority-data": facts.certificate_authority},
                }
            ],
            "users": [
                {
                    "name": facts.name,
                    "user": {
                        "exec": {
                            "apiVersion": "client.authentication.k8s.io/v1",
                            "command": "aws",
                            "args": ["eks", "get-token", "--cluster-name", facts.name, "--region", facts.region],
                            "interactiveMode": "Never",
                        }
                    },
                }
            ],
        },
        sort_keys=True,
    )
