//! The one integration binary: the real tenfold, the shipped files, real sockets, a lab of its own for each test.

mod account;
mod bad_files;
mod bad_input;
mod chaos_in_lab;
mod chaos_runner;
mod command_line;
mod control;
mod example_profiles;
mod faults;
mod fis_in_lab;
mod grpc;
mod independent_clients;
mod kill_matrix;
mod left_behind;
mod load_command;
mod moto;
mod nginx;
mod oauth2;
mod reach;
mod safety;
mod streams;
mod support;
mod tidy;
mod truth;
mod undo_in_lab;
mod verdict;
