/** What the compiler says to users; `tsc` checks it, too. */
import { expectTypeOf, test } from 'vitest';
import type { ClientEvent, DeletedMessage, EventOf, Message, ValueMessage, WsGatewayClient } from '../../src/index.js';
import type { Hooks, useChannel } from '../../src/react.js';

interface Price {
  price: number;
}
interface Trade {
  side: 'buy' | 'sell';
}
interface Feed {
  [price: `${string}.price`]: Price;
  [trade: `${string}.trade`]: Trade;
  [other: string]: unknown;
}

const never = () => false;

test('the data of a message has the type of its channel, once it is known that it is no deletion', () => {
  const typed = null as unknown as WsGatewayClient<Feed>;
  const plain = null as unknown as WsGatewayClient;
  if (never()) {
    typed.subscribe('BTC.price', ({ data }) => expectTypeOf(data).toEqualTypeOf<Price | undefined>());
    typed.subscribe('BTC.price', ({ data, deleted }) => {
      if (deleted) expectTypeOf(data).toBeUndefined();
      else expectTypeOf(data).toEqualTypeOf<Price>();
    });
    typed.subscribe('*.trade', (message) => {
      if (message.deleted) expectTypeOf(message).toEqualTypeOf<DeletedMessage>();
      else expectTypeOf(message).toEqualTypeOf<ValueMessage<Trade>>();
    });
    typed.subscribe('market', ({ data }) => expectTypeOf(data).toBeUnknown());
    plain.subscribe('BTC.price', ({ data }) => expectTypeOf(data).toBeUnknown());
    plain.subscribe('BTC.price', (message: Message<Price>) => expectTypeOf(message.data).toEqualTypeOf<Price | undefined>());
    plain.subscribe<string, Price>('BTC.price', ({ data }) => expectTypeOf(data).toEqualTypeOf<Price | undefined>());
  }
});

test('an event has the fields of its type', () => {
  const client = null as unknown as WsGatewayClient;
  if (never()) {
    client.on('gap', (gap) => expectTypeOf(gap).toEqualTypeOf<EventOf<'gap'>>());
    // @ts-expect-error there is no such event
    client.on('gaps', () => {});
  }
  const told = (event: ClientEvent) => (event.type === 'close' ? event.retryInMs : null);
  expectTypeOf(told).returns.toEqualTypeOf<number | null>();
});

test('hooks have the types of a feed, and of what a selector makes of it', () => {
  if (never()) {
    const { useChannel: channel, useMessages: messages } = null as unknown as Hooks<Feed>;
    expectTypeOf(channel('BTC.price').data).toEqualTypeOf<Price | undefined>();
    expectTypeOf(channel('BTC.price', { select: ({ price }) => price }).data).toEqualTypeOf<number | undefined>();
    expectTypeOf(channel('BTC.price', { select: ({ price }) => price }).message).toEqualTypeOf<Message<Price> | undefined>();
    expectTypeOf(channel(null).data).toBeUnknown();
    messages('*.trade', (message) => expectTypeOf(message).toEqualTypeOf<Message<Trade>>());
    const plain = null as unknown as typeof useChannel;
    expectTypeOf(plain('BTC.price', { select: (value: Price) => value.price }).data).toEqualTypeOf<number | undefined>();
    // @ts-expect-error a price has no such field
    channel('BTC.price', { select: ({ prize }) => prize });
  }
});
