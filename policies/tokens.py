"""Type tokens of what the platform declares and looks up, and of what the rules guard against."""

RDS_INSTANCE = "aws:rds/instance:Instance"
RDS_CLUSTER = "aws:rds/cluster:Cluster"
RDS_CLUSTER_INSTANCE = "aws:rds/clusterInstance:ClusterInstance"
RDS_SNAPSHOT = "aws:rds/snapshot:Snapshot"
RDS_PARAMETER_GROUP = "aws:rds/parameterGroup:ParameterGroup"
RDS_SUBNET_GROUP = "aws:rds/subnetGroup:SubnetGroup"
RDS_EVENT_SUBSCRIPTION = "aws:rds/eventSubscription:EventSubscription"
SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
DEFAULT_SECURITY_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
SECURITY_GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
ACCESS_ENTRY = "aws:eks/accessEntry:AccessEntry"
ACCESS_POLICY = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
IAM_ROLE = "aws:iam/role:Role"
IAM_ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
IAM_ROLE_ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
IAM_POLICY = "aws:iam/policy:Policy"
IAM_USER = "aws:iam/user:User"
IAM_ACCESS_KEY = "aws:iam/accessKey:AccessKey"
OIDC_PROVIDER = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
KMS_KEY = "aws:kms/key:Key"
KMS_KEY_POLICY = "aws:kms/keyPolicy:KeyPolicy"
KMS_ALIAS = "aws:kms/alias:Alias"
S3_BUCKET = "aws:s3/bucket:Bucket"
S3_BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
S3_ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
S3_LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
S3_OWNERSHIP = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
S3_PUBLIC_ACCESS_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
S3_VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
AWS_SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105 (a type token)
AWS_SECRET_POLICY = "aws:secretsmanager/secretPolicy:SecretPolicy"  # noqa: S105 (a type token)
AWS_SECRET_VERSION = "aws:secretsmanager/secretVersion:SecretVersion"  # noqa: S105 (a type token)
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
METRIC_ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
SNS_TOPIC = "aws:sns/topic:Topic"
SNS_TOPIC_POLICY = "aws:sns/topicPolicy:TopicPolicy"
SNS_SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
EBS_VOLUME = "aws:ebs/volume:Volume"
EFS_FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"

GET_CLUSTER = "aws:eks/getCluster:getCluster"
GET_SUBNET = "aws:ec2/getSubnet:getSubnet"
GET_SUBNETS = "aws:ec2/getSubnets:getSubnets"

POSTGRESQL = "postgresql:index/"
"""Prefix of the PostgreSQL provider's resources."""
POSTGRESQL_PROVIDER = "pulumi:providers:postgresql"
DATABASE = f"{POSTGRESQL}database:Database"
ROLE = f"{POSTGRESQL}role:Role"
SCHEMA = f"{POSTGRESQL}schema:Schema"
EXTENSION = f"{POSTGRESQL}extension:Extension"
GRANT = f"{POSTGRESQL}grant:Grant"
GRANT_ROLE = f"{POSTGRESQL}grantRole:GrantRole"
DEFAULT_PRIVILEGES = f"{POSTGRESQL}defaultPrivileges:DefaultPrivileges"

RANDOM_PASSWORD = "random:index/randomPassword:RandomPassword"  # noqa: S105 (a type token)
RANDOM_BYTES = "random:index/randomBytes:RandomBytes"

TUNNEL = "cloudflare:index/zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared"
R2_BUCKET = "cloudflare:index/r2Bucket:R2Bucket"
R2_MANAGED_DOMAIN = "cloudflare:index/r2ManagedDomain:R2ManagedDomain"
R2_CUSTOM_DOMAIN = "cloudflare:index/r2CustomDomain:R2CustomDomain"
R2_CORS = "cloudflare:index/r2BucketCors:R2BucketCors"
R2_LIFECYCLE = "cloudflare:index/r2BucketLifecycle:R2BucketLifecycle"
ACCOUNT_TOKEN = "cloudflare:index/accountToken:AccountToken"  # noqa: S105 (a type token)
API_TOKEN = "cloudflare:index/apiToken:ApiToken"  # noqa: S105 (a type token)

KUBERNETES = "kubernetes:"
"""Prefix of everything that is an object of the cluster."""
HELM_RELEASE = f"{KUBERNETES}helm.sh/v3:Release"
POD = f"{KUBERNETES}core/v1:Pod"
CONFIG_MAP = f"{KUBERNETES}core/v1:ConfigMap"
K8S_SECRET = f"{KUBERNETES}core/v1:Secret"
NAMESPACE = f"{KUBERNETES}core/v1:Namespace"
RESOURCE_QUOTA = f"{KUBERNETES}core/v1:ResourceQuota"
SERVICE = f"{KUBERNETES}core/v1:Service"
SERVICE_ACCOUNT = f"{KUBERNETES}core/v1:ServiceAccount"
VOLUME = f"{KUBERNETES}core/v1:PersistentVolume"
VOLUME_CLAIM = f"{KUBERNETES}core/v1:PersistentVolumeClaim"
DEPLOYMENT = f"{KUBERNETES}apps/v1:Deployment"
STATEFUL_SET = f"{KUBERNETES}apps/v1:StatefulSet"
DAEMON_SET = f"{KUBERNETES}apps/v1:DaemonSet"
REPLICA_SET = f"{KUBERNETES}apps/v1:ReplicaSet"
JOB = f"{KUBERNETES}batch/v1:Job"
CRON_JOB = f"{KUBERNETES}batch/v1:CronJob"
NETWORK_POLICY = f"{KUBERNETES}networking.k8s.io/v1:NetworkPolicy"
RBAC = f"{KUBERNETES}rbac.authorization.k8s.io/v1:"
K8S_ROLE = f"{RBAC}Role"
ROLE_BINDING = f"{RBAC}RoleBinding"
CLUSTER_ROLE = f"{RBAC}ClusterRole"
CLUSTER_ROLE_BINDING = f"{RBAC}ClusterRoleBinding"

_OBJECTS = (
    *(POD, CONFIG_MAP, K8S_SECRET, NAMESPACE, RESOURCE_QUOTA, SERVICE, SERVICE_ACCOUNT, VOLUME, VOLUME_CLAIM),
    *(DEPLOYMENT, STATEFUL_SET, DAEMON_SET, REPLICA_SET, JOB, CRON_JOB, NETWORK_POLICY),
    *(K8S_ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING),
)
_SAME = {
    **{token.rpartition(":")[2]: token for token in _OBJECTS},
    "aws:s3/bucketV2:BucketV2": S3_BUCKET,
    "aws:s3/bucketVersioningV2:BucketVersioningV2": S3_VERSIONING,
    "aws:s3/bucketLifecycleConfigurationV2:BucketLifecycleConfigurationV2": S3_LIFECYCLE,
}


def canonical(type_: str) -> str:
    """The token that stands for the type in this module, whatever its API version; the type itself where none does.

    A `…Patch` changes an object of the kind, so it counts as the kind.
    """
    kind = type_.rpartition(":")[2].removesuffix("Patch") if type_.startswith(KUBERNETES) else type_
    return _SAME.get(kind, type_)
