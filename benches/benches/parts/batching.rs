//! Natural batching: what a queue and its flusher cost per item, from submitting to the answer, without any work.

use criterion::{BenchmarkId, Criterion, Throughput};
use platform::batch::queue;
use tokio::sync::oneshot;

use crate::{BATCHES, group, runtime};

pub(crate) fn queue_of(criterion: &mut Criterion) {
    let runtime = runtime();
    let (batcher, mut batches) = queue::<oneshot::Sender<()>>("bench", 10_000);
    runtime.spawn(async move {
        while let Some(batch) = batches.next(512).await {
            for reply in batch {
                reply.send(()).ok();
            }
        }
    });
    let mut group = group(criterion, "batching queue");
    for items in BATCHES {
        group.throughput(Throughput::Elements(items as u64));
        group.bench_function(BenchmarkId::from_parameter(items), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let mut answers = Vec::with_capacity(items);
                for _ in 0..items {
                    let (reply, answer) = oneshot::channel();
                    batcher.submit(reply).expect("room");
                    answers.push(answer);
                }
                for answer in answers {
                    answer.await.expect("an answer");
                }
            });
        });
    }
    group.finish();
}
