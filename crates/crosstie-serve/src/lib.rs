//! `crosstie serve`: trained models behind HTTP and gRPC.

#![forbid(unsafe_code)]
