"""Makes a production instance or cluster in moto: rds_production.py ENDPOINT instance|cluster NAME DATABASE [KEY=VALUE …]

Prints the security group that it made beside the subnet group `drill`. Extra words are parameters of CreateDBInstance.
"""
import json
import sys

import boto3

endpoint, kind, name, database = sys.argv[1:5]
more = {key: json.loads(value) for key, value in (word.split("=", 1) for word in sys.argv[5:])}
where = {"endpoint_url": endpoint, "region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
rds = boto3.client("rds", **where)
ec2 = boto3.client("ec2", **where)
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
subnets = [
    ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
    for index, zone in enumerate(("us-east-1a", "us-east-1b"))
]
group = "drill-" + name
rds.create_db_subnet_group(DBSubnetGroupName=group, DBSubnetGroupDescription="drills", SubnetIds=subnets)
security = ec2.create_security_group(GroupName=group, Description="drills", VpcId=vpc)["GroupId"]
login = {"MasterUsername": "app", "MasterUserPassword": "of-production"}
if kind == "cluster":
    rds.create_db_cluster(
        DBClusterIdentifier=name, Engine="aurora-postgresql", DatabaseName=database, DBSubnetGroupName=group, **login
    )
    rds.create_db_instance(
        DBInstanceIdentifier=name + "-1", DBClusterIdentifier=name, Engine="aurora-postgresql", DBInstanceClass="db.r6g.large"
    )
else:
    settings = {
        "Engine": "postgres", "DBInstanceClass": "db.t4g.medium", "AllocatedStorage": 20, "DBName": database,
        "BackupRetentionPeriod": 7, "DeletionProtection": True, "DBSubnetGroupName": group,
        "VpcSecurityGroupIds": [security], **login, **more,
    }  # fmt: skip
    rds.create_db_instance(DBInstanceIdentifier=name, **settings)
print(security)
