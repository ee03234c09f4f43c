//! RabbitMQ as the scenarios see it.

use crate::Outcome;
use crate::amqp::{self, Amqp, Value};
use crate::broker::{Address, Admin, Confirm, Confirms, Consumer, Publisher, QueueKind};

/// Declarations, exchanges and bindings.
pub(crate) struct RabbitAdmin {
    amqp: Amqp,
}

impl RabbitAdmin {
    pub(crate) fn connect(port: u16) -> Outcome<RabbitAdmin> {
        Ok(RabbitAdmin { amqp: Amqp::connect(port)? })
    }
}

impl Admin for RabbitAdmin {
    fn declare_queue(&mut self, name: &str, kind: QueueKind<'_>) -> Outcome<()> {
        let mut arguments = vec![("x-queue-type", Value::Text(if kind.is_quorum { "quorum" } else { "classic" }))];
        if let Some((ttl_ms, into)) = kind.expires_into {
            arguments.push(("x-message-ttl", Value::Number(ttl_ms as i64)));
            arguments.push(("x-dead-letter-exchange", Value::Text("")));
            arguments.push(("x-dead-letter-routing-key", Value::Text(into)));
        }
        self.amqp.declare_queue(name, &arguments)
    }

    fn declare_exchange(&mut self, name: &str, kind: &str) -> Outcome<()> {
        self.amqp.declare_exchange(name, kind)
    }

    fn bind(&mut self, exchange: &str, queue: &str, key: &str) -> Outcome<()> {
        self.amqp.bind(exchange, queue, key)
    }

    fn sync(&mut self) -> Outcome<()> {
        self.amqp.sync()
    }

    fn ready(&mut self, queue: &str) -> Outcome<u64> {
        self.amqp.ready(queue).map(u64::from)
    }
}

/// Publishes persistent messages.
pub(crate) struct RabbitPublisher {
    amqp: Amqp,
    confirm: Confirm,
}

impl RabbitPublisher {
    pub(crate) fn connect(port: u16, confirm: Confirm) -> Outcome<RabbitPublisher> {
        let mut amqp = Amqp::connect(port)?;
        if confirm != Confirm::None {
            amqp.select_confirms()?;
        }
        Ok(RabbitPublisher { amqp, confirm })
    }
}

impl Publisher for RabbitPublisher {
    fn put(&mut self, to: Address<'_>, body: &[u8], _: Option<u64>) {
        self.amqp.put_message(to.exchange, to.key, body);
    }

    fn flush_from(&mut self, bytes: usize) -> Outcome<()> {
        self.amqp.flush_from(bytes)
    }

    fn finish(&mut self) -> Outcome<()> {
        match self.confirm {
            Confirm::None => self.amqp.sync(),
            Confirm::Disk => Ok(()),
        }
    }

    fn confirms(&self) -> Outcome<Option<Box<dyn Confirms>>> {
        Ok(match self.confirm {
            Confirm::None => None,
            Confirm::Disk => Some(Box::new(self.amqp.receiver()?)),
        })
    }
}

impl Confirms for amqp::Confirms {
    fn wait(&mut self) -> Outcome<u64> {
        amqp::Confirms::wait(self)
    }
}

/// Consumes queues, and acknowledges up to the last message it has, every so many.
pub(crate) struct RabbitConsumer {
    amqp: Amqp,
    queue: String,
    ack_every: u64,
    last: u64,
    acknowledged: u64,
}

impl RabbitConsumer {
    pub(crate) fn connect(port: u16, queues: &[String], prefetch: u16, ack_every: u64) -> Outcome<RabbitConsumer> {
        let mut amqp = Amqp::connect(port)?;
        amqp.set_prefetch(prefetch)?;
        for queue in queues {
            amqp.consume(queue)?;
        }
        let queue = queues.first().ok_or("no queue to consume")?.clone();
        Ok(RabbitConsumer { amqp, queue, ack_every, last: 0, acknowledged: 0 })
    }
}

impl Consumer for RabbitConsumer {
    fn take(&mut self, message: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let RabbitConsumer { amqp, ack_every, last, acknowledged, .. } = self;
        amqp.deliveries(&mut |tag, body| {
            *last = tag;
            message(body)
        })?;
        if *last - *acknowledged >= *ack_every {
            amqp.put_ack_up_to(*last);
            *acknowledged = *last;
            amqp.flush_from(0)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        if self.last > self.acknowledged {
            self.amqp.put_ack_up_to(self.last);
            self.acknowledged = self.last;
        }
        match self.amqp.ready(&self.queue)? {
            0 => Ok(()),
            left => Err(format!("{left} messages are left in {}", self.queue).into()),
        }
    }
}
