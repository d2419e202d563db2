import type { Phone } from "./phone/types";
import type { PageStore } from "./store";

/** What `keras-split-client` names its databases by, one for each model. */
const PHONE_STORES = "keras-split/";

/**
 * Deletes photos, names, and what this phone has learned.
 *
 * The token stays: without it the phone would need another invitation.
 */
export async function forgetAll(
  phone: Pick<Phone, "close">,
  store: PageStore,
  databases: IDBFactory = indexedDB,
): Promise<void> {
  await phone.close();
  await store.clear();
  await dropHalves(databases);
}

/** Deletes what this phone has learned; photos and names stay. */
export async function forgetLearned(
  store: PageStore,
  databases: IDBFactory = indexedDB,
): Promise<void> {
  await store.forget("plan");
  await store.clearPoints();
  await dropHalves(databases);
}

async function dropHalves(databases: IDBFactory): Promise<void> {
  const all = await databases.databases();
  await Promise.all(
    all.map(({ name }) =>
      name?.startsWith(PHONE_STORES) ? dropped(databases, name) : undefined,
    ),
  );
}

function dropped(databases: IDBFactory, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = databases.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error);
    request.onblocked = () =>
      reject(
        new DOMException("Another tab of this page is open.", "AbortError"),
      );
  });
}
