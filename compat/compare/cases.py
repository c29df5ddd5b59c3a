"""The steps of the comparison, in the order they run. Names of topics and groups end in the tools' version, so that both
versions can be run against the same pair of brokers."""

from .cluster import cluster, refused, transactions
from .configs import configs
from .disk import deletion, dump, restart
from .groups import groups
from .placement import placement
from .records import records
from .topics import topics

SECTIONS = [topics, configs, records, groups, placement, cluster, refused, dump, restart, deletion]
# Behind those of all versions.
LAST = [transactions]


def steps(section, version):
    """The steps of a section. Its function is given the tag that names end in, and the version of the tools."""
    return list(section(version.replace(".", ""), version))
