//! Everything that moves by itself: instances, groups, alarms, failovers, networks and DNS.
