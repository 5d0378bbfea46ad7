//! Where the pod template of a workload is.
