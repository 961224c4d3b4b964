//! The load generator: users as rows of data, one shard per core. Knows neither faults nor AWS.
