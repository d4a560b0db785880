/** The hook of the README, word for word from the first import on: a unit test compares the two. */
import { useEffect, useState } from 'react';
import { migrate, type Phase } from '../../dist/migrate.js';
import { useClient } from '../../dist/react.js';

interface Token {
  price: number;
}

/** @begin */
export function useToken(id: string, phase: Phase): Token | undefined {
  const client = useClient();
  const [token, setToken] = useState<Token>();
  useEffect(() => {
    const migration = migrate<Token>(client, `${id}.update`, {
      phase, // 'poll', 'shadow' or 'push'
      poll: async (signal) => {
        const response = await fetch(`/api/tokens/${id}`, { signal });
        if (!response.ok) throw new Error(`status ${response.status}`);
        return response.json();
      },
      onValue: (value) => setToken(value),
    });
    return () => migration.stop();
  }, [client, id, phase]);
  return token;
}
/** @end */
