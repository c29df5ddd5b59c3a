//! A connection to a broker, by the crate's own codec.

use std::io;

use barnabas::base::net::TcpStream;
use barnabas::wire::header::{RequestHeader, decode_response};
use barnabas::wire::message::Message;
use barnabas::wire::reader::Reader;
use barnabas::wire::text::Text;
use barnabas::wire::writer::Writer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// One request at a time.
pub struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

impl Connection {
    /// Connects to the broker on a simulated host.
    pub async fn open(host: &str) -> io::Result<Self> {
        Ok(Self {
            stream: TcpStream::connect((host, 9092)).await?,
            correlation_id: 0,
        })
    }

    /// Asks, and waits for the answer.
    pub async fn exchange<Q: Message, A: Message>(
        &mut self,
        client: &str,
        request: &Q,
        version: i16,
    ) -> io::Result<A> {
        self.correlation_id += 1;
        let mut w = Writer::new();
        w.i32(0);
        RequestHeader {
            api_key: Q::KEY,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(Text::copy(client)),
        }
        .encode(&mut w);
        request.encode(&mut w, version);
        let length = i32::try_from(w.len() - 4).unwrap();
        w.patch_i32(0, length);
        self.stream.write_all(&w.freeze()).await?;
        let length = self.stream.read_i32().await?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await?;
        let (correlation_id, body) = decode_response(frame.into(), Q::KEY, version).unwrap();
        assert_eq!(correlation_id, self.correlation_id);
        let mut reader = Reader::new(body);
        let answer = A::decode(&mut reader, version).unwrap();
        reader.finish().unwrap();
        Ok(answer)
    }
}
