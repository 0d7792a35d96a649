//! Messages: requests for stock come in, their results go out. A message asks for the same as `decrease-by-order`, by the
//! same verb, so messages are decided in batches together with requests.
//!
//! Order of things: decide and commit, publish the result and have it confirmed, acknowledge. Whatever dies in between,
//! the message is delivered again, and its request id makes the second time a replay. While the database or the broker is
//! away, messages are held, neither refused nor set aside.

pub mod availability;
pub mod requests;
pub mod results;

use std::sync::Arc;
use std::time::Duration;

use contracts::messaging::STOCK_REQUEST;
use platform::amqp::{AmqpError, Consumer, Link, Source};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::RabbitMqConfig;
use results::Results;

/// The tasks that consume and publish.
pub struct Messaging {
    link: Link,
    stop: CancellationToken,
    consuming: JoinHandle<()>,
    publishing: JoinHandle<()>,
}

impl Messaging {
    /// Starts them. They wait for the broker, not the other way round.
    ///
    /// # Errors
    /// When the broker's URL or authorities are unusable.
    pub fn start(app: &Arc<App>, config: &RabbitMqConfig) -> Result<Self, AmqpError> {
        let (link, stop) = (Link::default(), CancellationToken::new());
        let broker = config.broker()?;
        let (results, publishing) = Results::start(broker.clone(), config, stop.clone());
        let consumer = Consumer {
            broker,
            name: "stock requests",
            source: Source::Route(STOCK_REQUEST),
            prefetch: config.prefetch,
            link: link.clone(),
            stop: stop.clone(),
        };
        let handler = requests::Handler {
            app: Arc::clone(app),
            results,
            stop: stop.clone(),
        };
        let consuming = consumer.run(move |delivery| handler.clone().handle(delivery));
        Ok(Self {
            link,
            stop,
            consuming: tokio::spawn(consuming),
            publishing,
        })
    }

    /// Whether messages come in.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Takes no more messages and waits for those under way, at most for `grace`. What is not done by then is delivered
    /// again, to somebody else.
    pub async fn end(self, grace: Duration) {
        self.stop.cancel();
        let ended = async {
            self.consuming.await.ok();
            self.publishing.await.ok();
        };
        tokio::time::timeout(grace, ended).await.ok();
    }
}
