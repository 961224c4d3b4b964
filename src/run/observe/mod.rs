//! Probes: the control plane, write probes, ledgers. Changes nothing in the account.
