//! Prints how long a buffer of the pool takes to be taken, written to and given back, in milliseconds: a line for each
//! size in bytes among the arguments. `npm run bench` compares it with JavaScript's.

use orchestrator_worker::Buffers;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 200_000;

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() {
    let buffers = Buffers::new();
    let sizes = std::env::args().skip(1).map(|size| size.parse().expect("a size in bytes"));
    for size_bytes in sizes {
        let started = Instant::now();
        for round in 0..ROUNDS {
            let mut buffer = buffers.take(size_bytes).expect("a size that the pool has");
            buffer[0] = round as u8;
            black_box(&mut buffer);
        }
        println!("{}", started.elapsed().as_secs_f64() * 1000.0 / f64::from(ROUNDS));
    }
}
